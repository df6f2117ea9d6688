"""Results as JSON, as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    values: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return float(np.median(self.values))

    @property
    def iqr(self) -> float:
        """The width of the middle half."""
        low, high = np.percentile(self.values, [25, 75])
        return float(high - low)


@dataclass(frozen=True)
class Row:
    """One side of one case; each figure is lower where it is better, but for rates."""

    case: str
    side: str
    unit: str
    spread: Spread
    note: str = ""

    def rounds(self) -> list[Row]:
        """Take the rounds apart."""
        return [replace(self, spread=Spread([value])) for value in self.spread.values]


@dataclass(frozen=True)
class Bar:
    """What a figure had to be. Without a figure, the reason why there is none."""

    what: str
    figure: float | None
    at_least: float | None = None
    at_most: float | None = None
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether it holds; None if it was not measured."""
        if self.figure is None:
            return None
        return (self.at_least is None or self.figure >= self.at_least) and (
            self.at_most is None or self.figure <= self.at_most
        )

    @property
    def want(self) -> str:
        """What it had to be, as text."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def line(self) -> str:
        """Say it in a line."""
        if self.figure is None:
            return f"     {self.what}: not measured ({self.reason}; wanted {self.want})"
        return f"{'ok  ' if self.passed else 'FAIL'} {self.what}: {number(self.figure)} (wanted {self.want})"


@dataclass
class Case:
    """What one case found, and in which run."""

    command: str
    date: str
    commit: str
    load: float
    """Load average before it."""
    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep a row, and tell it."""
        self.rows.append(row)
        median, iqr = number(row.spread.median), number(row.spread.iqr)
        print(f"  {row.side}: {median} {row.unit} (IQR {iqr}, {len(row.spread.values)} rounds) {row.note}", flush=True)

    def judge(self, bar: Bar) -> None:
        """Keep a bar, and tell it."""
        self.bars.append(bar)
        print(f"  {bar.line()}", flush=True)

    def note(self, text: str) -> None:
        """Keep a remark, and tell it."""
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def json(self) -> dict[str, Any]:
        """Give all numbers."""
        whole = asdict(self)
        for row, kept in zip(whole["rows"], self.rows, strict=True):
            row["spread"] = {"median": kept.spread.median, "iqr": kept.spread.iqr, "values": kept.spread.values}
        for bar, kept in zip(whole["bars"], self.bars, strict=True):
            bar["passed"] = kept.passed
        return whole

    @classmethod
    def of(cls, whole: dict[str, Any]) -> Case:
        """Read what :meth:`json` gave."""
        rows = [Row(**row | {"spread": Spread(row["spread"]["values"])}) for row in whole["rows"]]
        bars = [Bar(**{key: value for key, value in bar.items() if key != "passed"}) for bar in whole["bars"]]
        return cls(**whole | {"rows": rows, "bars": bars})

    def markdown(self, name: str) -> list[str]:
        """Write its tables."""
        lines = [
            f"## {name}",
            "",
            f"`{self.command}`, {self.date}, at {self.commit}, load average before it {self.load:.1f}.",
        ]
        lines += ["", "| case | side | median | IQR | rounds | |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            lines.append(
                f"| {row.case} | {row.side} | {number(row.spread.median)} {row.unit} | {number(row.spread.iqr)} "
                f"| {len(row.spread.values)} | {row.note} |"
            )
        if self.bars:
            lines += ["", "| bar | measured | wanted | |", "|---|---|---|---|"]
        for bar in self.bars:
            figure = bar.reason if bar.figure is None else number(bar.figure)
            verdict = {True: "pass", False: "fail", None: "not measured"}[bar.passed]
            lines.append(f"| {bar.what} | {figure} | {bar.want} | {verdict} |")
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return [*lines, ""]


@dataclass
class Results:
    """Everything that was found on one machine. Both sides of a case are of one run; cases may be of several."""

    machine: dict[str, Any]
    versions: dict[str, Any] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)

    def keep(self, path: Path, order: Iterable[str]) -> None:
        """Add the cases of a file, where it is of this machine and these versions, that were not run anew."""
        if path.exists():
            before = json.loads(path.read_text())
            versions = before["versions"]
            if before["machine"] == self.machine and versions | self.versions == versions:
                self.versions = versions
                self.cases = {name: Case.of(case) for name, case in before["cases"].items()} | self.cases
        self.cases = {name: self.cases[name] for name in order if name in self.cases}

    def json(self) -> str:
        """Write all numbers."""
        cases = {name: case.json() for name, case in self.cases.items()}
        whole = {"machine": self.machine, "versions": self.versions, "cases": cases}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"

    def markdown(self) -> str:
        """Write the tables."""
        m = self.machine
        lines = [
            "# Benchmark",
            "",
            f"On {m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {', '.join(m['instructions'])}; "
            f"{m['system']}. "
            + ", ".join(f"{name} {version}" for name, version in {"Python": m["python"], **self.versions}.items())
            + ".",
            "",
        ]
        for name, case in self.cases.items():
            lines += case.markdown(name)
        return "\n".join(lines).rstrip() + "\n"

    def chart(self, path: Path) -> None:
        """Draw how many times faster than the reference each case is, with the middle half of the rounds."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        shown = self._pairs()
        figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * max(1, len(shown))), layout="constrained")
        for at, (_, ours, theirs) in enumerate(shown):
            ratio = times_better(ours, theirs)
            rounds = [times_better(a, b) for a, b in zip(ours.rounds(), theirs.rounds(), strict=True)]
            low, high = np.percentile(rounds, [25, 75])
            axes.barh(at, ratio, color="#2b7bba" if ratio >= 1 else "#c44e52", height=0.6)
            ends = [[max(0.0, ratio - low)], [max(0.0, high - ratio)]]
            axes.errorbar(ratio, at, xerr=ends, color="black", capsize=3)
            axes.text(max(ratio, high) * 1.06, at, f"{ratio:.3g} ×", va="center")
        axes.set_yticks(range(len(shown)), [case for case, *_ in shown])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.axvline(1, color="black", linewidth=0.8)
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, 0.7), right * 2)
        axes.set_xlabel("times faster than arc-state, or smaller (medians; lines: middle half of the rounds)")
        where = f"{self.machine['cores']} cores of {self.machine['processor']}"
        axes.set_title(f"se600m-go against arc-state, {where}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=150)
        plt.close(figure)

    def _pairs(self) -> list[tuple[str, Row, Row]]:
        pairs = []
        rows = [row for case in self.cases.values() for row in case.rows]
        for case in dict.fromkeys(row.case for row in rows):
            sides = {row.side: row for row in rows if row.case == case}
            if "arc-state" in sides:
                pairs += [
                    (f"{case}, {side}".removesuffix(", ours").replace(", ours, ", ", "), row, sides["arc-state"])
                    for side, row in sides.items()
                    if side.startswith("ours")
                ]
        return pairs


def times_better(ours: Row, theirs: Row) -> float:
    """Tell how many times faster, or smaller, the first is."""
    ratio = theirs.spread.median / ours.spread.median
    return 1 / ratio if ours.unit.endswith("/s") else ratio


def number(value: float) -> str:
    """Write a figure with the digits that it deserves."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.5f}" if 0.99 < abs(value) < 1 else f"{value:.3g}"

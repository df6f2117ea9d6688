"""The table that ``make parity`` ends in."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One figure: what was compared, what came out, what it had to be. Without a bar it is told, not judged."""

    what: str
    measured: str
    bar: str
    passed: bool | None


@dataclass
class Report:
    """Figures under headings, in the order in which they were measured."""

    sections: list[tuple[str, list[Line]]] = field(default_factory=list)
    model: str = ""
    """The model in hand; headings begin with it."""

    def section(self, title: str) -> None:
        """Begin a heading."""
        title = f"{self.model}: {title}"
        self.sections.append((title, []))
        print(f"— {title}", flush=True)

    def _add(self, line: Line) -> None:
        self.sections[-1][1].append(line)
        mark = {True: "ok  ", False: "FAIL", None: "    "}[line.passed]
        print(f"  {mark} {line.what}: {line.measured}" + (f" ({line.bar})" if line.bar else ""), flush=True)

    def at_most(self, what: str, value: float, bar: float, unit: str = "") -> None:
        """Judge a figure that must not be larger than a bar."""
        self._add(Line(what, _number(value, unit), f"≤ {_number(bar, unit)}", bool(value <= bar)))

    def at_least(self, what: str, value: float, bar: float, unit: str = "") -> None:
        """Judge a figure that must not be smaller than a bar."""
        self._add(Line(what, _number(value, unit), f"≥ {_number(bar, unit)}", bool(value >= bar)))

    def all_of(self, what: str, good: int, total: int) -> None:
        """Judge a count that must be complete."""
        self._add(Line(what, f"{good} of {total}", "all", total > 0 and good == total))

    def tell(self, what: str, measured: float | str, unit: str = "") -> None:
        """Note a figure without a bar."""
        self._add(Line(what, measured if isinstance(measured, str) else _number(measured, unit), "", None))

    @property
    def passed(self) -> bool:
        """Whether every bar held, and there was one."""
        judged = [line.passed for _, lines in self.sections for line in lines if line.passed is not None]
        return bool(judged) and all(judged)

    def show(self) -> None:
        """Print the table."""
        table = Table(title="se600m-go against arc-state", title_justify="left")
        for column in ("", "measured", "bar", ""):
            table.add_column(column)
        for title, lines in self.sections:
            table.add_row(f"[bold]{title}[/bold]")
            for line in lines:
                verdict = {True: "[green]ok[/green]", False: "[red]FAIL[/red]", None: ""}[line.passed]
                table.add_row("  " + line.what, line.measured, line.bar, verdict)
            table.add_section()
        Console(width=150).print(table)

    def markdown(self) -> str:
        """Write the table as markdown."""
        rows = ["| | measured | bar | |", "|---|---|---|---|"]
        for title, lines in self.sections:
            rows.append(f"| **{title}** | | | |")
            for line in lines:
                verdict = {True: "ok", False: "FAIL", None: ""}[line.passed]
                rows.append(f"| {line.what} | {line.measured} | {line.bar} | {verdict} |")
        return "\n".join(rows) + "\n"


def _number(value: float, unit: str = "") -> str:
    if float(value).is_integer() and abs(value) < 1e6:
        text = str(int(value))
    else:
        text = f"{value:.7f}" if 0.999 < value < 1 else f"{value:.4g}"
    return f"{text} {unit}".rstrip()

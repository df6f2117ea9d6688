"""The options of embedding, written once: their names, defaults, types and checks."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_type_hints

from se600m import errors

MIN_COVERAGE = 0.1
"""Least share of a data set's genes that a model must know, or of a model's genes that a data set must have. Human
data sets with full annotation reach a third of the one and most of the other; other species and other kinds of
identifiers reach next to nothing of both."""

KEY = "X_state"
"""Key of ``obsm`` for an embedding, by default."""

MEMORY = "512MB"
"""Memory for rows that are read from a file, and for their results, by default."""

Expression = Literal["auto", "counts", "log1p"]
Fill = Literal["auto", "shared", "independent", "expected", "none"]
Precision = Literal["auto", "fp32", "fp16", "int8", "bf16"]
Device = Literal[
    "auto", "cpu", "openvino", "cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6",
    "cuda:7", "cuda:8", "cuda:9", "cuda:10", "cuda:11", "cuda:12", "cuda:13", "cuda:14", "cuda:15", "tensorrt",
    "tensorrt:0", "tensorrt:1", "tensorrt:2", "tensorrt:3", "tensorrt:4", "tensorrt:5", "tensorrt:6",
    "tensorrt:7", "tensorrt:8", "tensorrt:9", "tensorrt:10", "tensorrt:11", "tensorrt:12", "tensorrt:13",
    "tensorrt:14", "tensorrt:15",
]  # fmt: skip
Devices = Device | Sequence[Device]

_OTHER_NAMES = {
    "float32": "fp32", "float": "fp32", "f32": "fp32", "single": "fp32", "full": "fp32", "exact": "fp32",
    "bfloat16": "bf16", "bfloat": "bf16", "float16": "fp16", "half": "fp16", "f16": "fp16", "16": "fp16",
    "i8": "int8", "8bit": "int8", "fp8": "int8", "int4": "int8", "uint8": "int8",
    "raw": "counts", "count": "counts", "umi": "counts", "log": "log1p", "lognorm": "log1p", "normalized": "log1p",
    "gpu": "cuda", "nvidia": "cuda", "trt": "tensorrt", "mean": "expected", "random": "independent", "zero": "none",
    "zeros": "none", "no": "none",
}  # fmt: skip
"""What else users call the choices, for suggestions only."""


class ReadKeywords(TypedDict, total=False):
    """Keyword options of everything that reads the cells of an AnnData (see :class:`CellOptions`)."""

    layer: str | None
    use_raw: bool
    gene_column: str | None
    expression: Expression
    fill: Fill
    seed: int
    threads: int | None
    min_coverage: float
    strict: bool
    progress: bool | None


class CellKeywords(ReadKeywords, total=False):
    """The options of functions whose sentences may be of chosen genes."""

    genes: Iterable[str] | str | None


class RunKeywords(CellKeywords, total=False):
    """The options of functions that run the model on cells."""

    batch_size: int | None


class GeneKeywords(ReadKeywords, total=False):
    """The options of functions that run the model on cells, and have ``genes`` of their own: those to tell about."""

    batch_size: int | None


class Source(TypedDict):
    """The options that say what is read of an AnnData."""

    layer: str | None
    use_raw: bool
    gene_column: str | None


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """Options for cells: which matrix to read, how sentences are made, and how to run. Checked when made.

    :func:`se600m.embed` explains each of them.
    """

    layer: str | None = None
    use_raw: bool = False
    gene_column: str | None = None
    genes: Iterable[str] | str | None = None
    expression: Expression = "auto"
    fill: Fill = "auto"
    seed: int = 0
    batch_size: int | None = None
    threads: int | None = None
    min_coverage: float = MIN_COVERAGE
    strict: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        choice("expression", self.expression, get_args(Expression))
        choice("fill", self.fill, get_args(Fill))
        self._set("seed", whole("seed", self.seed, 0, 2**64 - 1))
        if self.batch_size is not None:
            self._set("batch_size", whole("batch_size", self.batch_size, 1, 1 << 20))
        self._set("threads", checked_threads(self.threads))
        if not _is_number(self.min_coverage) or not 0 <= self.min_coverage <= 1:
            raise errors.OptionError(f"min_coverage={self.min_coverage!r} is not a share from 0 to 1")
        self._set("min_coverage", float(self.min_coverage))
        for name in ("use_raw", "strict"):
            self._set(name, flag(name, getattr(self, name)))
        self._set("progress", flag_or_none("progress", self.progress))
        if self.genes is not None:
            self._set("genes", tuple(gene_names(self.genes)))
        for name in ("layer", "gene_column"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise errors.OptionError(f"{name}={value!r} is not a name (a string)")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # a frozen dataclass sets its own checked values this way

    def source(self) -> Source:
        """Give the options that say which matrix and which names of genes are read."""
        return {"layer": self.layer, "use_raw": self.use_raw, "gene_column": self.gene_column}

    def provenance(self) -> dict[str, Any]:
        """Give the options that can change the embedding, as values that an h5ad file can hold."""
        return {
            "layer": self.layer or "",
            "use_raw": self.use_raw,
            "expression": self.expression,
            "seed": self.seed,
            "min_coverage": self.min_coverage,
            "strict": self.strict,
            "batch_size": self.batch_size or 0,
            "threads": self.threads or 0,
            "genes": self.named_genes(),
        }

    def named_genes(self) -> str:
        """Name the chosen genes: ``"all"``, or their number and what tells them from others."""
        if self.genes is None:
            return "all"
        return named_genes(sorted(set(self.genes)))


def named_genes(names: Sequence[str]) -> str:
    """Give the number of some genes, and what tells them, in their order, from others."""
    return f"{len(names)} chosen ({hashlib.sha256(chr(10).join(names).encode(errors='replace')).hexdigest()[:12]})"


def gene_names(genes: Any) -> list[str]:
    """Check names of genes: one or several, each a text."""
    if isinstance(genes, bytes) or not isinstance(genes, Iterable):
        raise errors.OptionError(f"genes={genes!r}: give gene symbols or Ensembl ids")
    names = [genes] if isinstance(genes, str) else list(genes)
    if not names:
        raise errors.OptionError("genes is empty: give at least one gene")
    for name in names:
        if not isinstance(name, str):
            raise errors.OptionError(f"genes contains {name!r}: give gene symbols or Ensembl ids")
    return [str(name) for name in names]


def check_ordered(name: str, values: Any) -> None:
    """Make sure that values have an order, where it is that of the result: a set has another one in each process."""
    if isinstance(values, set | frozenset):
        raise errors.OptionError(f"{name} is a set, which has no fixed order: give a list, such as sorted({name})")


def choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check that a value is one of some names; the error suggests the nearest one."""
    if not isinstance(value, str):
        raise errors.OptionError(f"{name}={value!r} is not a name such as {choices[0]!r} or {choices[1]!r}")
    if value not in choices:
        listed = ", ".join(f'"{c}"' for c in choices)
        raise errors.OptionError(f'{name}="{value}" is not one of {listed}{did_you_mean(value, choices)}')


def did_you_mean(value: str, choices: tuple[str, ...]) -> str:
    """Suggest the choice that is nearest to a value, or nothing."""
    lower = value.lower().strip()
    other = _OTHER_NAMES.get(lower)
    near = [other] if other in choices else difflib.get_close_matches(lower, choices, 1)
    return f': did you mean "{near[0]}"?' if near else ""


def devices(device: Any) -> str:
    """Check the form of one device's name, or of several; whether they are there is Go's to say.

    Returns
    -------
    str
        The device, or several GPUs with commas between them.
    """
    several = device.split(",") if isinstance(device, str) else device
    if not isinstance(several, Sequence) or not several or not all(isinstance(name, str) for name in several):
        raise errors.OptionError(
            f"device={device!r} is not a name such as 'auto', 'cpu' or 'cuda:0', or a list such as ['cuda:0', 'cuda:1']"
        )
    names = [name.strip() for name in several]
    known = get_args(Device)
    for name in names:
        if name not in known and not name.startswith(("cuda:", "tensorrt:")):
            kinds = '"auto", "cpu", "openvino", "cuda", "cuda:N", "tensorrt", "tensorrt:N"'
            raise errors.DeviceError(f'device="{name}" is not one of {kinds}{did_you_mean(name, known)}')
    return ",".join(names)


def check_precision(precision: Any) -> None:
    """Check the name of a precision."""
    choice("precision", precision, get_args(Precision))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's are registered as such


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Check a whole number. Whole floats are taken: R has no other numbers."""
    if (
        not _is_number(value)
        or not -math.inf < value < math.inf
        or int(value) != value
        or value < least
        or (most is not None and int(value) > most)
    ):
        up_to = "" if most is None else f" to {most:,}"
        raise errors.OptionError(f"{name}={value!r} is not a whole number from {least}{up_to}")
    return int(value)


def checked_threads(threads: Any) -> int | None:
    """Check a number of threads; None stands for all cores."""
    return None if threads is None else whole("threads", threads, 1, 1024)


def flag(name: str, value: Any) -> bool:
    """Check a switch."""
    if not isinstance(value, bool) and type(value) is not _bool_of_numpy():
        raise errors.OptionError(f"{name}={value!r} is not True or False")
    return bool(value)


def _bool_of_numpy() -> type | None:
    """Give numpy's own bool, where numpy has been imported: the command does without it until it reads cells."""
    return getattr(sys.modules.get("numpy"), "bool_", None)


def flag_or_none(name: str, value: Any) -> bool | None:
    """Check a switch that is left to se600m by default."""
    return None if value is None else flag(name, value)


_F = TypeVar("_F", bound=Callable[..., Any])


def accepts(keywords: type) -> Callable[[_F], _F]:
    """Show the options in a function's signature that it takes as ``**options: Unpack[keywords]``.

    ``help()``, the tooltip of a notebook and its completion then list every option with its default.
    """

    def decorate(function: _F) -> _F:
        own = inspect.signature(function)
        defaults = {f.name: f.default for f in dataclasses.fields(CellOptions)}
        names, types = get_type_hints(keywords), get_type_hints(CellOptions)
        shown = [
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=defaults[f.name], annotation=types[f.name]
            )
            for f in dataclasses.fields(CellOptions)
            if f.name in names
        ]
        before = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = own.replace(parameters=[*before, *shown])  # type: ignore[attr-defined]
        return function

    return decorate


def kept_genes(options: CellKeywords, chosen: CellOptions) -> None:
    """Have options pass on the genes that were read, where what gives them could be read only once."""
    if chosen.genes is not None:
        options["genes"] = chosen.genes


def cell_options(function: str, keywords: type, given: Mapping[str, Any]) -> CellOptions:
    """Check the options that a function was given; an unknown name is the TypeError that Python itself would raise."""
    names = tuple(get_type_hints(keywords))
    for name in given:
        if name not in names:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{did_you_mean(name, names)}")
    return CellOptions(**given)

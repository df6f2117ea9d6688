"""What ``var`` says about the columns of a matrix: which are genes, and their names."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from se600m import errors

_TYPE_COLUMNS = ("featuretypes", "featuretype", "modality")
"""Columns of ``var`` that may tell the kinds of features, but for case and punctuation: those of 10x, muon and scvi."""

_GENES = frozenset({"gene expression", "gene", "genes", "rna", "gex", "mrna"})
_OTHERS = frozenset(
    {
        "antibody capture", "antibody", "antibodies", "adt", "protein", "proteins", "prot", "protein expression",
        "peaks", "peak", "atac", "chromatin accessibility", "crispr guide capture", "crispr", "guide", "guides",
        "grna", "sgrna", "multiplexing capture", "cmo", "hto", "hashtag", "hashtags", "custom", "antigen capture",
        "vdj", "vdj t", "vdj b", "spike in",
    }
)  # fmt: skip
"""What the kinds are called, in small letters and without punctuation."""

_UNTYPED = "no type"


class GeneNames(NamedTuple):
    """A column of names."""

    column: str
    """What a user calls it."""
    names: list[str]
    """One name a gene, "" for none."""
    target: str = ""
    """The column as Python assigns to it."""
    others: tuple[str, ...] = ()
    """The names of the columns of the matrix that are no genes."""


@dataclass(frozen=True)
class FeatureTypes:
    """Columns of a matrix that are genes, where ``var`` tells."""

    column: str
    """The column of ``var`` that tells."""
    genes: npt.NDArray[np.bool_]
    """Whether each column of the matrix is a gene."""
    others: dict[str, int]
    """How many other columns there are of each type."""

    @property
    def untyped(self) -> int:
        """Number of columns that were left out and have no type."""
        return self.others.get(_UNTYPED, 0)

    def listed(self) -> str:
        """Say how many other columns there are of each type."""
        return ", ".join(
            f"{n:,} of {kind!r}" if kind != _UNTYPED else f"{n:,} of no type" for kind, n in self.others.items()
        )


def feature_types(var: pd.DataFrame) -> FeatureTypes | None:
    """Find the columns of a matrix that are genes by what ``var`` says of them; None if it says nothing.

    Raises
    ------
    DataError
        No column is a gene.
    """
    for name in var.columns:
        if _plain(name).replace(" ", "") in _TYPE_COLUMNS and not isinstance(var[name], pd.DataFrame):
            found = _types_of(f"var[{name!r}]", var[name])
            if found is not None:
                return found
    return None


def _types_of(column: str, values: pd.Series[Any]) -> FeatureTypes | None:
    """Read one column. Where no type is that of genes, what has a type that is certainly another is left out."""
    types = [_UNTYPED if missing else str(value).strip() for value, missing in zip(values, values.isna(), strict=True)]
    plain = [_plain(kind) for kind in types]
    genes = np.array([kind in _GENES for kind in plain], bool)
    if not genes.any():
        others = np.array([kind in _OTHERS for kind in plain], bool)
        if not others.any():
            return None  # it tells something else, or nothing
        genes = ~others
    counted = pd.Series(
        [kind for kind, gene in zip(types, genes, strict=True) if not gene], dtype=object
    ).value_counts()
    found = FeatureTypes(column, genes, {str(kind): int(n) for kind, n in counted.items()})
    if not genes.any():
        raise errors.DataError(
            f"{column} says that no column is a gene: there are {found.listed()}, and none of 'Gene Expression'. "
            "The model reads gene expression: embed a data set or a modality that has it"
        )
    return found if found.others else None


def _plain(text: Any) -> str:
    """Write a name in small letters, without punctuation."""
    return " ".join("".join(c if c.isalnum() else " " for c in str(text).lower()).split())


def gene_columns(
    var: pd.DataFrame, gene_column: str | None, place: str = "adata", features: FeatureTypes | None = None
) -> list[GeneNames]:
    """List the columns that may have the genes' names: the one that is named, or all with text.

    ``place`` is what has the ``var``, ``adata`` or ``adata.raw``; ``features`` tells which of its rows are genes.
    """
    columns = _columns(var, gene_column, place)
    return columns if features is None else [_of_genes(column, features.genes) for column in columns]


def _of_genes(column: GeneNames, genes: npt.NDArray[np.bool_]) -> GeneNames:
    names = np.array(column.names, object)
    return column._replace(names=names[genes].tolist(), others=tuple(names[~genes]))


def _columns(var: pd.DataFrame, gene_column: str | None, place: str) -> list[GeneNames]:
    if gene_column is None:
        index = "adata.var_names" if place == "adata" else f"{place}.var.index"
        text = [_column(name, column, place) for name, column in var.items() if _is_text(column.dtype)]
        # Text stays as it is: pandas 3 would make it Arrow's, which has no half surrogate pairs.
        names = var.index.tolist() if var.index.inferred_type == "string" else _names(var.index.to_series())
        return [GeneNames("var_names", names, index), *text]
    check_column(gene_column, var.columns)
    return [_column(gene_column, var[gene_column], place)]


def check_column(gene_column: str, columns: Iterable[Any]) -> None:
    """Make sure that ``var`` has a column of this name, and only one."""
    columns = list(columns)
    n = columns.count(gene_column)
    if n == 0:
        there = what_there_is(gene_column, [str(c) for c in columns], "no columns")
        raise errors.DataError(f"gene_column={gene_column!r} is not in var, {there}")
    if n > 1:
        raise errors.DataError(
            f"gene_column={gene_column!r} occurs {n} times in var: give these columns different names"
        )


def _column(name: Any, column: pd.Series[Any], place: str) -> GeneNames:
    written = json.dumps(name) if isinstance(name, str) else repr(name)
    return GeneNames(f"var[{name!r}]", _names(column), f"{place}.var[{written}]")


def _is_text(dtype: Any) -> bool:
    """Whether a column has text: numbers, such as NCBI's gene ids, are no names."""
    if isinstance(dtype, pd.CategoricalDtype):
        return _is_text(dtype.categories.dtype)
    if isinstance(dtype, pd.ArrowDtype):
        return "string" in str(dtype.pyarrow_dtype).partition("indices=")[0]  # a dictionary's values come first
    return isinstance(dtype, pd.StringDtype) or (isinstance(dtype, np.dtype) and dtype.kind == "O")


def _names(column: pd.Series[Any]) -> list[str]:
    as_they_are = column.tolist()
    if set(map(type, as_they_are)) <= {str}:
        return as_they_are
    names = column.astype(object).where(column.notna(), "")
    return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]


def what_there_is(wanted: str, names: Sequence[str], none: str) -> str:
    """Say which names exist, and which of them is nearest to the one that was wanted."""
    if not names:
        return f"which has {none}"
    near = difflib.get_close_matches(str(wanted), names, 1) or [n for n in names if n.lower() == str(wanted).lower()]
    listed = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
    return f"which has {listed}" + (f": did you mean {near[0]!r}?" if near else "")

"""Names of genes as gene tokens."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _native, _options, _var, errors
from se600m._words import many, verb


def match(
    model: int, columns: list[_var.GeneNames], min_coverage: float, totals: npt.NDArray[np.float64] | None = None
) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """Find a data set's genes in a model's vocabulary (its handle), by the best of some columns of names.

    Parameters
    ----------
    min_coverage
        What the share of the data set's genes that the model knows, or else the share of the model's genes that
        the data set has, must reach.
    totals
        Sum of the values of each gene, ``[n_genes]``, if it is known: the error tells their share of the values, too.

    Returns
    -------
    tokens
        int32, one a gene; -1 for unknown ones.
    report
        The column that was taken (``column``) with its ``names`` and ``tokens``, and what became of them. ``repairs``
        are what would make genes of unknown names; ``repair_of``, int32 ``[n_genes]``, has the repair of each, -1 for
        none; ``is_left_out``, bool ``[n_genes]``, tells whose token another one has;
        ``first_of``, int32 ``[n_genes]``, is the first gene of the same name, if a number behind it is left out.

    Raises
    ------
    GeneCoverageError
    """
    n_genes = len(columns[0].names)
    tokens, repair_of = np.full(n_genes, -1, np.int32), np.full(n_genes, -1, np.int32)
    left_out, first_of = np.zeros(n_genes, np.uint8), np.arange(n_genes, dtype=np.int32)
    names = _native.lines([name for column in columns for name in column.names])
    request: dict[str, Any] = {
        "columns": [column.column for column in columns],
        "targets": [column.target or column.column for column in columns],
        "names": _native.array(names),
        "minimum": min_coverage,
        "tokens": _native.array(tokens),
        "repair_of": _native.array(repair_of),
        "left_out": _native.array(left_out),
        "first_of": _native.array(first_of),
    }
    if columns[0].others:
        others = _native.lines([name for column in columns for name in column.others])
        request["others"] = _native.array(others)
    if totals is not None:
        totals = np.ascontiguousarray(totals, np.float64)
        request["totals"] = _native.array(totals)
    report = _native.match_genes(model, request)
    of_genes = {"tokens": tokens, "repair_of": repair_of, "is_left_out": left_out.astype(bool), "first_of": first_of}
    return tokens, {**report, "names": columns[report["index"]].names, **of_genes}


def tokens_of(model: int, symbols: list[str], genes: Iterable[str] | str) -> npt.NDArray[np.int32]:
    """Look up genes by symbol or Ensembl id; each must be among the symbols of a model (its handle)."""
    _options.check_ordered("genes", genes)
    names = _options.gene_names(genes)
    tokens, found = _found(model, names)
    if found["first_unknown"] >= 0:
        unknown = list(dict.fromkeys(name for name, token in zip(names, tokens, strict=True) if token < 0))
        others = f" (and {many(len(unknown) - 1, 'other unknown gene')})" if len(unknown) > 1 else ""
        raise errors.UnknownGeneError(_unknown(unknown[0], symbols, found, others))
    return tokens


def _found(model: int, names: list[str]) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """Look up names in a model: their tokens, -1 for unknown ones, and what is known of the first unknown one."""
    tokens = np.full(len(names), -1, np.int32)
    text = _native.lines(names)
    return tokens, _native.find_genes(model, {"names": _native.array(text), "tokens": _native.array(tokens)})


def choose(
    model: int,
    symbols: list[str],
    columns: list[_var.GeneNames],
    matched: dict[str, Any],
    genes: Iterable[str],
) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
    """Keep the tokens of chosen genes alone.

    A name is one of the data set, in the column that was taken or in another one with text, or one of a model (its
    handle): a symbol, an earlier symbol or an Ensembl id. Names of genes that the data set has and the model does not
    know are no error, as they are none where all genes enter.

    Parameters
    ----------
    matched
        The report of :func:`match` for the columns.

    Returns
    -------
    tokens
        int32, one a gene of the data set; -1 for those that were not chosen, too.
    chosen
        ``n``, the number of chosen names; ``n_entered``, the number of the data set's genes that have a token and were
        chosen; ``absent``, the names of genes of the model that the data set does not have.

    Raises
    ------
    UnknownGeneError
        A name is neither one of the data set nor one of the model, or no chosen gene is one of both.
    """
    tokens, names = matched["tokens"], list(dict.fromkeys(genes))
    its_own, taken = matched["names"], np.zeros(len(matched["names"]), bool)
    left = _take(names, its_own, taken)
    known = _found(model, left)[0] if left else np.empty(0, np.int32)
    there = np.isin(known, tokens) & (known >= 0)
    taken |= np.isin(tokens, known[there])
    left = [name for name, found in zip(left, there, strict=True) if not found]
    for column in columns:
        if left and column.names is not its_own:
            left = _take(left, column.names, taken)
    if left:
        unknown = [name for name, token in zip(left, _found(model, left)[0], strict=True) if token < 0]
        if unknown:
            tokens_of(model, symbols, unknown)
    tokens = np.full(len(its_own), -1, np.int32)
    column = columns[matched["index"]]
    some = column._replace(names=[name for name, here in zip(its_own, taken, strict=True) if here], others=())
    if some.names:
        with suppress(errors.GeneCoverageError):  # none is known, which is said below
            # Anew: a name that is another symbol of a gene in another column is a gene where that was not chosen.
            tokens[taken] = match(model, [some], 0.0)[0]
    if not (tokens >= 0).any():
        one, n = f"gene {names[0]!r} is not", len(names)
        raise errors.UnknownGeneError(
            f"{one if n == 1 else f'none of the {n:,} chosen genes, such as {names[0]!r}, is'} both known to the model "
            "and in the data set: choose others, or leave genes=... out to embed all"
        )
    return tokens, {"n": len(names), "n_entered": int(np.count_nonzero(tokens >= 0)), "absent": left}


def _take(names: list[str], column: list[str], taken: npt.NDArray[np.bool_]) -> list[str]:
    """Note the places of names in a column; gives the names that are not there."""
    wanted, found = set(names), set()
    for i, name in enumerate(column):
        if name and name in wanted:
            taken[i] = True
            found.add(name)
    return [name for name in names if name not in found]


def _unknown(name: str, symbols: list[str], found: dict[str, Any], others: str) -> str:
    """Say why a gene is unknown, and what may be meant."""
    gene, model = f"gene {name!r}", f"the model's {len(symbols):,} genes"
    if found["symbol"]:
        return f"{gene} is {found['symbol']}, which is not among {model}{others}"
    if found["about"] == "a human Ensembl id":
        return f"{gene} is a human Ensembl id that is not known{others}: use the symbol of the gene"
    if found["about"]:
        return f"{gene} is {found['about']}{others}: use symbols or Ensembl ids of human genes"
    if name in found["genes"]:
        return f"{gene} is a human gene that is not among {model}{others}"
    near = found["suggestions"]
    if not near and found["genes"]:
        known = found["genes"][:3]
        return (
            f"{gene} is another name of {', '.join(known)}, which {verb(len(known), 'are')} not among {model}{others}"
        )
    if not near:
        near = difflib.get_close_matches(name.upper(), [s for s in symbols if not s.startswith("ENSG")], n=1)
    if not near:
        return f"{gene} is not among {model}{others}: give gene symbols or human Ensembl ids"
    nearest = "symbol is" if len(near) == 1 else "symbols are"
    return f"{gene} is not among {model}{others}: the nearest {nearest} {', '.join(map(repr, near))}"

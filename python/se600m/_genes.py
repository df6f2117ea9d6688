"""Genes by name as gene tokens."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from se600m import _native, errors


def tokens_of(model: int, symbols: list[str], genes: Iterable[str] | str) -> npt.NDArray[np.int32]:
    """Look up genes by symbol or Ensembl id; each must be among the symbols of a model (its handle)."""
    names = [genes] if isinstance(genes, str) else list(genes)
    if not names:
        raise errors.OptionError("genes is empty: name at least one gene")
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise errors.OptionError(f"genes has {wrong!r}: give gene symbols or Ensembl ids")
    try:
        tokens, _ = _native.match_genes(model, [("genes", names)], 0.0)
    except errors.GeneCoverageError:  # none of them
        tokens = np.full(len(names), -1, np.int32)
    unknown = list(dict.fromkeys(name for name, token in zip(names, tokens, strict=True) if token < 0))
    if unknown:
        others = f" (and {len(unknown) - 1:,} other unknown ones)" if len(unknown) > 1 else ""
        raise errors.UnknownGeneError(
            f"gene {unknown[0]!r} is not among the model's {len(symbols):,} genes{others}: "
            f"the nearest symbol is {_nearest(symbols, unknown[0])!r}"
        )
    return tokens


def _nearest(symbols: list[str], name: str) -> str:
    """Find the symbol most like a name: the same but for upper and lower case, else by common letters."""
    same = next((symbol for symbol in symbols if symbol.casefold() == name.casefold()), None)
    return same or difflib.get_close_matches(name.upper(), symbols, n=1, cutoff=0)[0]

"""Collections of AnnDatas (``anndata.experimental.AnnCollection``), whose cells are embedded where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from anndata import AnnData

from se600m import _options, errors
from se600m._cells import Cells
from se600m._opened import Opened
from se600m._options import CellOptions

Made = tuple[Any, Any, dict[str, Any]]
"""An embedding, a dataset embedding or None, and what is noted about them."""


def parts(given: Any) -> list[AnnData] | None:
    """Give the AnnDatas of a collection; None of anything else."""
    kind = getattr(sys.modules.get("anndata.experimental"), "AnnCollection", None)
    return list(given.adatas) if kind is not None and isinstance(given, kind) else None


def check_copy(copy: Any) -> None:
    """Make sure that no copy of a collection is asked for."""
    if _options.flag("copy", copy):
        raise errors.OptionError(
            "copy=True, but a collection refers to its AnnDatas: copy those, and make a collection of the copies"
        )


def check_fill(opened: Opened, adatas: list[AnnData], options: CellOptions) -> None:
    """Make sure that the genes of all can be found, and that all cells are filled in one way."""
    fills = [Cells(opened, adata, options).plan()["fill"] for adata in adatas]
    for i, fill in enumerate(fills):
        if fill != fills[0]:
            raise errors.OptionError(
                f"fill='auto' is {fills[0]!r} for AnnData 0 of the collection and {fill!r} for AnnData {i}, and such "
                "embeddings can't be compared: choose one for all, such as fill='expected'"
            )


def write(collection: Any, key: str, made: list[Made], write_one: Callable[[AnnData, Made], None]) -> None:
    """Write results into the AnnDatas, and into the joined ``obsm`` of the collection if it has one."""
    for adata, one in zip(collection.adatas, made, strict=True):
        write_one(adata, one)
    joined = collection.obsm
    if joined is None:  # it looks into the AnnDatas
        return
    for name, place in ((key, 0), (f"{key}_dataset", 1)):
        rows = [one[place] for one in made]
        if rows[0] is not None:
            joined[name] = np.concatenate([np.asarray(part) for part in rows])

"""Collections of AnnDatas (``anndata.experimental.AnnCollection``), whose cells are embedded where they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from anndata import AnnData

from se600m import _anndata, _cells, _destination, _options, errors
from se600m._cells import Cells
from se600m._opened import Opened
from se600m._options import CellOptions


class AnnCollection(Protocol):
    """What is read of an ``anndata.experimental.AnnCollection``: importing that class may import torch."""

    @property
    def adatas(self) -> Any: ...
    @property
    def obsm(self) -> Any: ...


Made = tuple[Any, Any, dict[str, Any]]
"""An embedding, a dataset embedding or None, and what is noted about them."""


def check(
    given: Any, key: str, options: CellOptions, *, dataset: bool, overwrite: bool, copy: bool
) -> list[AnnData] | None:
    """Make sure that an AnnData, or all of a collection, can be embedded; gives those of a collection, otherwise None.

    ``key``, ``dataset``, ``overwrite`` and ``copy`` are those of the result (see :mod:`se600m._destination`).
    """
    kind = getattr(sys.modules.get("anndata.experimental"), "AnnCollection", None)
    adatas = list(given.adatas) if kind is not None and isinstance(given, kind) else None
    if adatas is not None and _options.flag("copy", copy):
        raise errors.OptionError(
            "copy=True, but a collection refers to its AnnDatas: copy those, and make a collection of the copies"
        )
    for adata in [given] if adatas is None else adatas:
        _destination.check_embedding(adata, key, dataset=dataset, overwrite=overwrite, copy=copy)
        _anndata.check(adata, **options.source())
    return adatas


def check_fill(opened: Opened, adatas: list[AnnData], options: CellOptions) -> None:
    """Make sure that the genes of all can be found, and that all cells are filled in one way."""
    fills = [Cells(opened, adata, options).plan()["fill"] for adata in adatas]
    _cells.check_fill([(f"AnnData {i} of the collection", fill) for i, fill in enumerate(fills)])


def write(collection: AnnCollection, key: str, made: list[Made], write_one: Callable[[AnnData, Made], None]) -> None:
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

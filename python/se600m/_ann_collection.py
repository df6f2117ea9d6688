"""Collections of AnnDatas (``anndata.experimental.AnnCollection``), whose cells are embedded where they are."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol

import numpy as np
from anndata import AnnData

from se600m import _anndata, _cells, _destination, _keep, _lazy, _options, errors
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
    if adatas is not None and given.obsm is not None and not overwrite:
        _destination.check_joined(given.obsm, adatas, key, dataset=dataset)
    return adatas


def check_fill(opened: Opened, adatas: list[AnnData], options: CellOptions) -> None:
    """Make sure that the genes of all can be found, and that all cells are filled in one way."""
    fills = [Cells(opened, adata, options).plan()["fill"] for adata in adatas]
    _cells.check_fill([(f"AnnData {i} of the collection", fill) for i, fill in enumerate(fills)])


def write(collection: AnnCollection, key: str, made: list[Made]) -> None:
    """Write results into all AnnDatas, and into the joined ``obsm`` of the collection if it has one, or into none."""
    adatas, joined = list(collection.adatas), collection.obsm
    changes = [_destination.change_of(adata, key, *one) for adata, one in zip(adatas, made, strict=True)]
    if joined is not None:  # without one, a collection looks into the AnnDatas
        rows = _destination.named(key, *_below(made))
        left = _destination.stale_in(joined, adatas, key, made[0][1] is not None)
        changes.append(_destination.Change(collection, {"obsm": rows}, {"obsm": left}))
    try:
        _destination.write_all(changes)
    except Exception:
        computed = [one for one in made if not _lazy.is_dask(one[0])]
        if not computed:
            raise
        with _keep.kept_on_failure(*_below(computed), key, f"adata.obsm[{key!r}] of the AnnDatas of a collection"):
            raise


def _below(made: list[Made]) -> tuple[Any, Any]:
    """Put embeddings one below the other, and dataset embeddings; those that dask has not computed stay so."""
    lazy = any(_lazy.is_dask(one[0]) for one in made)
    put: Any = importlib.import_module("dask.array").concatenate if lazy else np.concatenate
    return put([one[0] for one in made]), None if made[0][1] is None else put([one[1] for one in made])

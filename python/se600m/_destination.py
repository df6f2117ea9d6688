"""The AnnData that a result is written into: looked at before the model runs, changed whole or not at all."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from se600m import _anndata, _keep, _lazy, _options, errors

_ABSENT = object()

Places = Mapping[str, Sequence[str]]
"""Keys to write by the attribute of the AnnData that has them, such as ``{"obsm": ["X_state"]}``."""


class Change(NamedTuple):
    """What is to be written into an AnnData, or into a collection of some (see :func:`write`)."""

    target: Any
    values: Mapping[str, Mapping[str, Any]]
    drop: Places


class Unheld:
    """An AnnData that a function lets go of (``del adata``) to find out whether its caller holds it.

    A result that is written into ``adata[:, genes]`` or ``adata.copy()``, without a name, is gone with it. That nobody
    holds it is found out by letting go of it, which is right in every version of Python, whatever calls: where a
    wrapper around the function holds it, it stays alive, and nothing is said.
    """

    def __init__(self, adata: AnnData) -> None:
        self._reference = weakref.ref(adata)

    def taken_back(self) -> AnnData:
        """Give the AnnData back.

        Raises
        ------
        DataError
            Nobody else holds it, so that the result would be lost.
        """
        gc.collect(1)  # an AnnData refers to itself; one that was made for the call is young
        found = self._reference()
        if found is None:
            raise errors.DataError(
                "the result would be lost, because the AnnData is a temporary object such as adata[:, genes] or "
                "adata.copy(). Assign it to a variable first (subset = adata[:, genes].copy(), then pass subset), or "
                "use the AnnData that copy=True returns"
            )
        return found


def unheld(adata: Any, copy: bool) -> Unheld | None:
    """Prepare for letting go of an AnnData that a result is written into; None where none is."""
    if copy or not isinstance(adata, AnnData) or 0 in adata.shape:  # without cells or genes there is no result
        return None
    return Unheld(adata)


_TAKEN_NAMES = {"obs": ("_index", "__categories")}
"""Names that anndata has for what it stores beside the columns of a table."""
_NAMES_OF_ZARR = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


def check_key(key: Any, part: str) -> None:
    """Make sure that a name that the user chose can be one in ``adata``, and in a file."""
    reason = None
    if not isinstance(key, str) or not key or "/" in key or "\0" in key:
        reason = "a name has at least one character, and neither a slash nor a zero byte"
    elif key in (".", ".."):
        reason = "in a file it would be the place itself"
    elif key in _TAKEN_NAMES.get(part, ()) or key in _NAMES_OF_ZARR:
        reason = "files need this name for themselves"
    elif not _encodable(key):
        reason = "it has characters that can't be written in UTF-8"
    if reason is not None:
        raise errors.OptionError(
            f"key_added={key!r} is not a valid key for adata.{part}: {reason}. Choose another key_added"
        )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(adata: Any, places: Mapping[str, Mapping[str, str | None]], *, overwrite: bool, copy: bool) -> None:
    """Make sure that a result can be written into an AnnData.

    Parameters
    ----------
    adata
        The AnnData that the result is written into. Other objects are not checked.
    places
        The keys that will be written, by the attribute of the AnnData that has them, and what speaks against replacing
        an entry there without ``overwrite``: "was not written by se600m". None if it is a result of se600m.
    overwrite
        Whether existing entries may be replaced.
    copy
        Whether the result goes into a copy.

    Raises
    ------
    DataError
        The AnnData can't be written.
    DestinationExistsError
        An entry exists that se600m did not write.
    """
    if not isinstance(adata, AnnData):
        return
    if adata.isbacked and adata.is_view and not copy:
        raise errors.DataError(
            "the result can't be written into a view of an AnnData that is backed by a file: pass copy=True, which "
            "returns the cells of the view in memory, or pass adata.to_memory()"
        )
    if overwrite:
        return
    for part, keys in places.items():
        for key, objection in keys.items():
            if objection is not None and key in getattr(adata, part):
                raise _exists(f"adata.{part}[{key!r}]", objection)


_THEIRS = "was not written by se600m"


def check_labels(adata: AnnData, key_added: Any, *, overwrite: bool, copy: bool) -> None:
    """Make sure that labels, and a confidence beside them, can be written into ``obs`` (see :func:`check`)."""
    check_key(key_added, "obs")
    overwrite, copy = _options.flag("overwrite", overwrite), _options.flag("copy", copy)
    columns = labels_of(key_added)
    if adata.obs.index.name in columns:
        raise errors.OptionError(
            f"key_added={key_added!r} would need the name {adata.obs.index.name!r}, under which obs has the names of "
            "the cells: choose another key_added"
        )
    objection = None if _transferred(adata.obs, key_added) else _THEIRS
    check(adata, {"obs": dict.fromkeys(columns, objection)}, overwrite=overwrite, copy=copy)


def labels_of(key_added: str) -> tuple[str, str]:
    """Name the columns of ``obs`` with labels and with their confidence."""
    return key_added, f"{key_added}_confidence"


def _transferred(obs: pd.DataFrame, key_added: str) -> bool:
    """Whether two columns are what a vote writes: categories, and shares of votes as float32."""
    labels, confidence = labels_of(key_added)
    if labels not in obs or confidence not in obs:
        return False
    return (
        isinstance(obs[labels].dtype, pd.CategoricalDtype)
        and obs[confidence].dtype == np.float32
        and bool(obs[confidence].between(0, 1).all())
    )


_COLUMNS, _DATASET_COLUMNS = "n_columns", "n_dataset_columns"
"""What ``uns`` notes of the widths of an embedding, and of the dataset embedding beside it (0 if there is none)."""

_LOOKED_AT = 64
"""Rows of an embedding that are looked at to see whether it is still the one that was written."""


def written_by_us(noted: Any) -> bool:
    """Whether an element of ``uns`` is what se600m notes about its results."""
    return isinstance(noted, Mapping) and str(noted.get("package", "")).startswith("se600m-go ")


def check_embedding(adata: Any, key_added: Any, *, dataset: bool, overwrite: bool, copy: bool) -> None:
    """Make sure that an embedding, and a dataset embedding beside it, can be written (see :func:`check`)."""
    check_key(key_added, "obsm")
    overwrite, copy = _options.flag("overwrite", overwrite), _options.flag("copy", copy)
    if not isinstance(adata, AnnData):
        return
    noted, beside = adata.uns.get(key_added), f"{key_added}_dataset"
    obsm = {key_added: _objection(adata, adata.obsm, key_added, key_added)}
    if dataset:
        obsm[beside] = _objection(adata, adata.obsm, key_added, beside)
    places = {"obsm": obsm, "uns": {key_added: None if written_by_us(noted) else _THEIRS}}
    check(adata, places, overwrite=overwrite, copy=copy)


def check_joined(obsm: Mapping[str, Any], adatas: Sequence[AnnData], key_added: str, *, dataset: bool) -> None:
    """Make sure that what is in the joined ``obsm`` of a collection is of se600m, by what its AnnDatas note.

    Raises
    ------
    DestinationExistsError
        It is not.
    """
    keys = (key_added, f"{key_added}_dataset") if dataset else (key_added,)
    for key in keys:
        if key in obsm:
            objections = [_objection(adata, obsm, key_added, key) for adata in adatas]
            if (objection := next(filter(None, objections), None)) is not None:
                raise _exists(f"collection.obsm[{key!r}]", objection)


def _exists(what: str, objection: str) -> errors.DestinationExistsError:
    return errors.DestinationExistsError(
        f"{what} exists and {objection}: choose another key_added, or replace it with overwrite=True"
    )


def _objection(adata: AnnData, obsm: Mapping[str, Any], key_added: str, key: str) -> str | None:
    """Say what speaks against replacing ``obsm[key]``, by what is noted under the key of the embedding."""
    if key_added not in adata.uns:
        return (
            f"there is no record in adata.uns[{key_added!r}] of where it is from (anndata.concat keeps none, unless "
            "uns_merge is given)"
        )
    noted = adata.uns[key_added]
    if not written_by_us(noted):
        return _THEIRS
    n_columns = noted.get(_COLUMNS if key == key_added else _DATASET_COLUMNS)
    if n_columns == 0:
        return _THEIRS  # beside an embedding without a dataset embedding, or with it in its last columns
    unit = key == key_added and not noted.get("with_dataset_embedding")
    values = obsm.get(key)
    if n_columns is None or values is None or _may_be_ours(values, n_columns, unit):
        return None
    return f"has been changed since se600m wrote it, according to adata.uns[{key_added!r}]"


def _may_be_ours(values: Any, n_columns: Any, unit: bool) -> bool:
    """Whether values have the form of what se600m wrote: float32, as wide, rows of unit length. Cells may be fewer."""
    lazy = _lazy.is_dask(values)
    if not (isinstance(values, np.ndarray) or lazy):
        return False
    if values.dtype != np.float32 or values.shape[1:] != (n_columns,):
        return False
    return lazy or not unit or bool(np.allclose(np.linalg.norm(values[:_LOOKED_AT], axis=1), 1, atol=1e-3))


def write_embedding(
    adata: AnnData,
    key_added: str,
    embedding: npt.NDArray[np.float32],
    dataset: npt.NDArray[np.float32] | None,
    provenance: dict[str, Any],
) -> None:
    """Write an embedding into an AnnData; if that fails, it is kept in a file.

    Of an earlier embedding by se600m nothing stays, such as its dataset embedding where the new one has none.
    """
    change = change_of(adata, key_added, embedding, dataset, provenance)
    if _lazy.is_dask(embedding):  # nothing was computed that could be lost
        write(*change)
        return
    with _keep.kept_on_failure(embedding, dataset, key_added, f"adata.obsm[{key_added!r}]"):
        write(*change)


def change_of(
    adata: AnnData,
    key_added: str,
    embedding: npt.NDArray[np.float32],
    dataset: npt.NDArray[np.float32] | None,
    provenance: dict[str, Any],
) -> Change:
    """Say what is written where, if an embedding is written into an AnnData."""
    widths = widths_of(embedding.shape[1], 0 if dataset is None else dataset.shape[1])
    arrays = named(key_added, embedding, dataset)
    values = {"obsm": arrays, "uns": {key_added: provenance | widths}}
    return Change(adata, values, {"obsm": stale(adata, key_added, dataset is not None)})


def named(key_added: str, embedding: Any, dataset: Any) -> dict[str, Any]:
    """Give an embedding, and the dataset embedding if there is one, by their keys in ``obsm``."""
    return {key_added: embedding} | ({} if dataset is None else {f"{key_added}_dataset": dataset})


def stale(adata: AnnData, key_added: str, dataset: bool) -> list[str]:
    """List the keys of ``obsm`` that an earlier embedding left and that the new one does not have."""
    return stale_in(adata.obsm, [adata], key_added, dataset)


def stale_in(obsm: Mapping[str, Any], adatas: Sequence[AnnData], key_added: str, dataset: bool) -> list[str]:
    """List them for the joined ``obsm`` of a collection, too, by what its AnnDatas note."""
    beside = f"{key_added}_dataset"
    if dataset or beside not in obsm:
        return []
    return [beside] if all(_objection(adata, obsm, key_added, beside) is None for adata in adatas) else []


def widths_of(n_columns: int, n_dataset_columns: int) -> dict[str, int]:
    """Give what is noted of the widths of an embedding, and of the dataset embedding beside it."""
    return {_COLUMNS: n_columns, _DATASET_COLUMNS: n_dataset_columns}


def target(adata: AnnData, copy: bool) -> AnnData:
    """Give the AnnData to write into. A copy is made before the model runs: later, memory could be missing for it.

    Of a backed AnnData the copy is in memory; anndata itself copies those into files alone.
    """
    if not copy:
        return adata
    if not adata.isbacked:
        return adata.copy()
    was_open = adata.file.is_open
    try:
        os.stat(adata.filename)
    except OSError as error:  # an open file can be read wherever it is, but not opened again
        raise _anndata.file_is_gone(adata, error) from error
    in_memory = adata.to_memory()  # closes the file
    if was_open:
        adata.file.open()
    return in_memory


def write(adata: AnnData, values: Mapping[str, Mapping[str, Any]], drop: Places | None = None) -> None:
    """Write into an AnnData, all of it or nothing.

    Parameters
    ----------
    values
        What to write, by the attribute of the AnnData and the key.
    drop
        Keys to take out: parts of an earlier result that the new one does not have.
    """
    write_all([Change(adata, values, drop or {})])


def write_all(changes: Sequence[Change]) -> None:
    """Write into several AnnDatas, into all of them or into none."""
    undo: list[tuple[Any, str, str, Any]] = []
    try:
        for target, values, drop in changes:
            for part, items in values.items():
                for key, value in items.items():
                    undo.append((target, part, key, _present(target, part, key)))
                    getattr(target, part)[key] = value
            for part, keys in drop.items():
                for key in keys:
                    undo.append((target, part, key, _present(target, part, key)))
                    if undo[-1][-1] is not _ABSENT:
                        del getattr(target, part)[key]
    except BaseException:
        for target, part, key, before in reversed(undo):
            with suppress(Exception):
                if before is not _ABSENT:
                    getattr(target, part)[key] = before
                elif key in getattr(target, part):
                    del getattr(target, part)[key]
        raise


def _present(target: Any, part: str, key: str) -> Any:
    found = getattr(target, part)
    return found.get(key, _ABSENT)

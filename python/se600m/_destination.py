"""The AnnData that a result is written into: looked at before the model runs, changed whole or not at all."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _keep, _options, errors

_ABSENT = object()

Places = Mapping[str, Sequence[str]]
"""Keys to write by the attribute of the AnnData that has them, such as ``{"obsm": ["X_state"]}``."""


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


def check(
    adata: Any,
    places: Places,
    *,
    ours: bool,
    overwrite: bool,
    copy: bool,
    options: tuple[str, str] = ("key_added", "overwrite=True"),
) -> None:
    """Make sure that a result can be written into an AnnData.

    Parameters
    ----------
    adata
        The AnnData that the result is written into. Other objects are not checked.
    places
        The keys that will be written.
    ours
        Whether the existing entries were written by se600m, and may be replaced without ``overwrite``.
    overwrite
        Whether existing entries may be replaced.
    copy
        Whether the result goes into a copy.
    options
        How the user writes the option for the key and the option that allows replacing, for messages.

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
    if overwrite or ours:
        return
    for part, keys in places.items():
        for key in keys:
            if key in getattr(adata, part):
                raise errors.DestinationExistsError(
                    f"adata.{part}[{key!r}] exists and was not written by se600m: choose another "
                    f"{options[0]}, or replace it with {options[1]}"
                )


def written_by_us(noted: Any) -> bool:
    """Whether an element of ``uns`` is what se600m notes about its results."""
    return isinstance(noted, Mapping) and str(noted.get("package", "")).startswith("se600m-go ")


def check_embedding(
    adata: Any,
    key_added: Any,
    *,
    dataset: bool,
    overwrite: bool,
    copy: bool,
    options: tuple[str, str] = ("key_added", "overwrite=True"),
) -> None:
    """Make sure that an embedding, and a dataset embedding beside it, can be written (see :func:`check`)."""
    if not isinstance(key_added, str) or not key_added or "/" in key_added:
        raise errors.OptionError(f"{options[0]}={key_added!r} is not a valid key for adata.obsm")
    overwrite, copy = _options.flag("overwrite", overwrite), _options.flag("copy", copy)
    places = {"obsm": [key_added, *([f"{key_added}_dataset"] if dataset else [])], "uns": [key_added]}
    ours = isinstance(adata, AnnData) and written_by_us(adata.uns.get(key_added))
    check(adata, places, ours=ours, overwrite=overwrite, copy=copy, options=options)


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
    beside = f"{key_added}_dataset"
    stale = [beside] if dataset is None and written_by_us(adata.uns.get(key_added)) else []
    arrays = {key_added: embedding} | ({} if dataset is None else {beside: dataset})
    with _keep.kept_on_failure(embedding, dataset, key_added, f"adata.obsm[{key_added!r}]"):
        write(adata, {"obsm": arrays, "uns": {key_added: provenance}}, {"obsm": stale})


def target(adata: AnnData, copy: bool) -> AnnData:
    """Give the AnnData to write into. A copy is made before the model runs: later, memory could be missing for it.

    Of a backed AnnData the copy is in memory; anndata itself copies those into files alone.
    """
    if not copy:
        return adata
    if not adata.isbacked:
        return adata.copy()
    was_open = adata.file.is_open
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
    undo: list[tuple[str, str, Any]] = []
    try:
        for part, items in values.items():
            for key, value in items.items():
                undo.append((part, key, _present(adata, part, key)))
                getattr(adata, part)[key] = value
        for part, keys in (drop or {}).items():
            for key in keys:
                undo.append((part, key, _present(adata, part, key)))
                if undo[-1][2] is not _ABSENT:
                    del getattr(adata, part)[key]
    except BaseException:
        for part, key, before in reversed(undo):
            with suppress(Exception):
                if before is not _ABSENT:
                    getattr(adata, part)[key] = before
                elif key in getattr(adata, part):
                    del getattr(adata, part)[key]
        raise


def _present(adata: AnnData, part: str, key: str) -> Any:
    found = getattr(adata, part)
    return found.get(key, _ABSENT)

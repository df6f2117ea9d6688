"""The cells of a file, of any kind that can be read: left on the disk if they can be, else in memory."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem

from se600m import _anndata, _files, _formats, _h5ad, _picture, _stored, _trees, errors
from se600m._options import CellOptions

_FIRST = 64
"""Rows of an earlier embedding that are looked at."""


@dataclass(frozen=True)
class Input:
    """The cells of a file."""

    place: str
    """Its path or address."""
    stored: _stored.Stored | None
    """The file, if its cells stay on the disk."""
    adata: AnnData | None
    """What it has, otherwise."""

    @property
    def in_memory(self) -> AnnData:
        """What it has, where it is in memory."""
        assert self.adata is not None
        return self.adata

    @property
    def is_h5ad(self) -> bool:
        """Whether the file is an h5ad file, which can be copied."""
        return not _stored.is_address(self.place) and _h5ad.is_h5ad(Path(self.place))

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.in_memory.n_obs if self.stored is None else self.stored.n_obs

    @property
    def obs_names(self) -> Any:
        """Names of the cells, read when they are asked for."""
        return self.in_memory.obs_names if self.stored is None else self.stored.obs_names

    @property
    def size(self) -> int:
        """Bytes of the file or folder; 0 for an address."""
        if os.path.isfile(self.place):
            return os.stat(self.place).st_size
        walked = os.walk(self.place)
        return sum(os.stat(os.path.join(folder, name)).st_size for folder, _, names in walked for name in names)

    def groups(self, cells: npt.NDArray[np.int64]) -> tuple[str, Any] | None:
        """Give the column of ``obs`` that tells best what cells are, and its values for some of them, or None."""
        if self.stored is None:
            obs = self.in_memory.obs
            found = {n: len(c.cat.categories) for n, c in obs.items() if isinstance(c.dtype, pd.CategoricalDtype)}
            name = _picture.best_column({str(n): k for n, k in found.items()})
            return None if name is None else (name, obs[name].array[cells])
        obs = self.stored.root["obs"]
        kinds = {name: obs[name] for name in obs if _trees.encoding(obs[name]) == "categorical"}
        name = _picture.best_column({name: int(part["categories"].shape[0]) for name, part in kinds.items()})
        return None if name is None else (name, read_elem(kinds[name])[cells])

    def obs(self) -> pd.DataFrame:
        """Read what is known of the cells.

        Raises
        ------
        DataError
            This anndata can't read a column.
        """
        if self.stored is None:
            return pd.DataFrame(self.in_memory.obs)
        try:
            return pd.DataFrame(read_elem(self.stored.root["obs"]))
        except Exception as error:
            raise errors.DataError(f"obs of {self.place!r} can't be read: {_files.reason(error)}") from error

    def close(self) -> None:
        """Close the file."""
        if self.stored is not None:
            self.stored.close()

    def check(self, options: CellOptions) -> None:
        """Make sure that there is what the options choose."""
        if self.stored is None:
            _anndata.check(self.adata, **options.source())
        else:
            self.expression(options, 1, 0)

    def expression(
        self,
        options: CellOptions,
        bytes_at_once: int,
        bytes_per_result: int,
        rows: tuple[int, int] | None = None,
    ) -> _anndata.Expression:
        """Find the matrix and the names of the genes (see :meth:`se600m._stored.Stored.expression`)."""
        if self.stored is not None:
            sizes = {"bytes_at_once": bytes_at_once, "bytes_per_result": bytes_per_result}
            return self.stored.expression(**options.source(), rows=rows, **sizes)
        found = _anndata.read(self.in_memory, **options.source())
        # The matrix is in memory already; the rows of it that are copied at once, and their results, add to it.
        most = max(1, bytes_at_once // max(1, bytes_per_result, 8 * found.values_per_row))
        found = dataclasses.replace(found, at_once=lambda _: most)
        return found if rows is None else found.part(*rows)

    def under(self, key: str) -> AnnData:
        """Give an AnnData that has what is under a key of ``obsm`` and ``uns`` alone, and few of its cells."""
        if self.stored is None:
            return self.in_memory
        root, n = self.stored.root, min(_FIRST, self.n_obs)
        shell = AnnData(obs=pd.DataFrame(index=[str(i) for i in range(n)]))
        for name in (key, f"{key}_dataset"):
            if "obsm" in root and name in root["obsm"]:
                shell.obsm[name] = _first_rows(root["obsm"][name], n)
        if "uns" in root and key in root["uns"]:
            try:
                shell.uns[key] = read_elem(root["uns"][key])
            except Exception:  # of an encoding that this anndata does not know: nothing that se600m wrote
                shell.uns[key] = "?"
        return shell

    def names_digest(self) -> str:
        """Describe the names of the cells."""
        if self.stored is not None:
            return self.stored.obs_names.digest()
        return hashlib.sha256(repr(list(self.obs_names)).encode(errors="replace")).hexdigest()[:16]

    def identity(self, expression: _anndata.Expression, options: CellOptions) -> dict[str, Any]:
        """Describe the input so that a change of it is seen."""
        if self.stored is not None:
            return self.stored.identity(expression, options.layer, options.use_raw)
        status = os.stat(self.place)
        genes = hashlib.sha256(repr(list(self.in_memory.var_names)).encode(errors="replace"))
        return {
            "the input's size": status.st_size,
            "the input's time of change": status.st_mtime_ns,
            "its number of cells": self.n_obs,
            "its names of cells": self.names_digest(),
            "its names of genes": genes.hexdigest()[:16],
        }

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened, as far as it is still needed."""
        if self.stored is not None:
            self.stored.check_unchanged()


def _first_rows(element: Any, n: int) -> Any:
    """Read the first rows of an array; what is no array is not what se600m wrote."""
    return np.asarray(element[:n]) if _stored.is_array(element) else np.zeros((n, 1))


def read(place: str | os.PathLike[str], modality: str | None = None) -> Input:
    """Open the cells of a file: h5ad and zarr are left on the disk, and other kinds are read.

    Raises
    ------
    DataError
        There is no such file, or it is of another kind.
    """
    given = os.fspath(place)
    if not _stored.is_address(given):
        given = str(Path(given).expanduser())
    stored = _stored.opened(given) if modality is None else None
    if stored is not None:
        return Input(given, stored, None)
    if _stored.is_address(given) and modality is not None:
        raise errors.OptionError(
            f"modality={modality!r}, but {given!r} is an address, where only an AnnData can be read: give the address "
            "of the modality itself"
        )
    return Input(given, None, _formats.read(Path(given), modality=modality))

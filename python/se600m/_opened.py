"""A model in memory: its handle in the Go core, what it is, and its genes."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _genes, _library, _models, _native, _options
from se600m._log import log


class Opened:
    """A converted model directory, opened on a device in a precision.

    Its memory is freed when nobody holds it any more. :class:`se600m.Model` is the public front of it.
    """

    _original: Opened | None = None

    def __init__(self, directory: Path, device: str, precision: str) -> None:
        self.runtime_version = _library.open_runtime(device, precision)
        self.handle = _native.open_model(str(directory), device, precision)
        weakref.finalize(self, _close, self.handle)
        description = _native.describe_model(self.handle)
        self.directory = directory
        self.config: dict[str, Any] = description["config"]
        self.name: str = self.config["name"]
        self.device: str = description["device"]
        self.precision: str = description["precision"]
        self.checksum: str = description["checksum"]
        self.stages: list[dict[str, Any]] = description["stages"]
        self.dimensions: dict[str, int] = self.config["dimensions"]
        self.genes = _native.model_genes(self.handle)

    def as_on(self, device: str, precision: str, runtime_version: str) -> Opened:
        """Give the same model as it is described by other machines, which run it."""
        other = copy.copy(self)
        other._original = self  # whose memory is freed with it
        other.device, other.precision, other.runtime_version = device, precision, runtime_version
        return other

    @property
    def output_dim(self) -> int:
        """Width of the embedding."""
        return self.dimensions["output_dim"]

    @property
    def dataset_dim(self) -> int:
        """Width of the dataset embedding; 0 if the model has none."""
        return self.dimensions["dataset_dim"]

    def tokens_of(self, genes: Iterable[str] | str) -> npt.NDArray[np.int32]:
        """Look up genes by symbol or Ensembl id; an unknown one is an error."""
        return _genes.tokens_of(self.handle, self.genes, genes)

    def provenance(self) -> dict[str, str]:
        """Give what identifies the model and what it runs on."""
        return {
            "model": self.name,
            "model_checksum": self.checksum,
            "package": f"se600m-go {_native.version()}",
            "runtime": f"onnxruntime {self.runtime_version}",
            "provider": self.device,
            "precision": self.precision,
        }


def _close(handle: int) -> None:
    if not _native.forked():
        _native.close_model(handle)


_opened: weakref.WeakValueDictionary[tuple[str, str, str], Opened] = weakref.WeakValueDictionary()


def open_directory(directory: Path, device: str, precision: str) -> Opened:
    """Open a converted model directory, or share the model that is open already."""
    _library.open_runtime(device, precision)
    chosen = _native.check_device(device, precision)
    key = (str(directory), chosen["device"], chosen["precision"])
    opened = _opened.get(key)
    if opened is None:
        opened = _opened[key] = Opened(directory, device, precision)
        log.info("model %s from checkpoint %s, in %s", opened.name, opened.config["source"]["checkpoint"], directory)
    return opened


def check(
    name_or_path: str | os.PathLike[str] | None,
    device: Any,
    precision: Any,
    checkpoint: str | None,
    protein_embeddings: str | os.PathLike[str] | None,
) -> str:
    """Make sure that a device, a precision and a model are there. Nothing is converted or opened.

    Returns
    -------
    str
        The device, chosen if it is "auto".
    """
    _options.check_precision(precision)
    chosen = _library.chosen(_options.devices(device), precision)
    _library.open_runtime(chosen, precision)
    _native.check_device(chosen, precision)
    _models.find(name_or_path, checkpoint, protein_embeddings)
    return chosen


def open_model(
    name_or_path: str | os.PathLike[str] | None,
    device: str,
    precision: str,
    checkpoint: str | None,
    protein_embeddings: str | os.PathLike[str] | None,
    progress: bool | None,
) -> Opened:
    """Find a model, convert it if need be, and open it. A device that is not there is named before the conversion."""
    device = check(name_or_path, device, precision, checkpoint, protein_embeddings)
    directory = _models.resolve(name_or_path, progress, checkpoint, protein_embeddings)
    return open_directory(directory.resolve(), device, precision)

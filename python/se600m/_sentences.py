"""Sentences made elsewhere, through a model: their embeddings, and every stage on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _native, errors
from se600m._opened import Opened
from se600m._options import checked_threads, whole

Embeddings = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]
"""Embedding ``[n, output_dim]`` and dataset embedding ``[n, dataset_dim]``, float32."""


class Sentences:
    """Sentences, checked, in memory that Go can read."""

    def __init__(
        self,
        gene_indices: npt.ArrayLike,
        expression_values: npt.ArrayLike,
        multiplicity: npt.ArrayLike | None,
    ) -> None:
        indices = np.asarray(gene_indices)
        if indices.ndim != 2 or indices.size == 0 or indices.dtype.kind not in "iu":
            raise errors.OptionError(
                f"gene_indices must be whole numbers of shape [n, S], not {indices.dtype} {list(indices.shape)}"
            )
        self.n, self.length = indices.shape
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._add("gene_indices", indices, np.int32)
        self._add("expression_values", expression_values, np.float32)
        if multiplicity is not None:
            self._add("multiplicity", multiplicity, np.float32)

    def _add(self, name: str, values: npt.ArrayLike, dtype: type[np.generic]) -> None:
        given = np.asarray(values)
        if given.shape != (self.n, self.length):
            raise errors.OptionError(
                f"{name} has shape {list(given.shape)}, but gene_indices has shape {[self.n, self.length]}"
            )
        converted = np.ascontiguousarray(given, dtype)
        if dtype is np.int32 and not np.array_equal(converted, given):
            raise errors.OptionError(f"gene_indices contains {given.max()}, which is not in the vocabulary")
        self._arrays[name] = converted

    @property
    def request(self) -> dict[str, Any]:
        """The part of a job's request that describes the sentences. Keep this object while the job runs."""
        described = {name: _native.array(values) for name, values in self._arrays.items()}
        return {"n_cells": self.n, "length": self.length, **described}


def embed(opened: Opened, sentences: Sentences, batch_size: int | None, threads: int | None) -> Embeddings:
    """Do what :meth:`se600m.Model.embed_sentences` says."""
    outputs = _outputs(opened, sentences.n)
    request = {
        "model": opened.handle,
        "batch_size": 0 if batch_size is None else whole("batch_size", batch_size, 1, 1 << 20),
        "threads": checked_threads(threads) or 0,
        **sentences.request,
        **{name: _native.array(values) for name, values in outputs.items()},
    }
    _native.run("embed_sentences", request)
    return outputs["embedding"], outputs.get("dataset_embedding")


def trace(opened: Opened, sentences: Sentences) -> dict[str, npt.NDArray[np.float32]]:
    """Do what :meth:`se600m.Model.trace_sentences` says."""
    outputs = _outputs(opened, sentences.n)
    stages = {
        stage["name"]: np.empty((sentences.n, sentences.length + stage["with_dataset"], stage["width"]), np.float32)
        for stage in opened.stages
    }
    request = {
        "model": opened.handle,
        **sentences.request,
        **{name: _native.array(values) for name, values in outputs.items()},
        "stages": [_native.array(values) for values in stages.values()],
    }
    _native.run("trace", request)
    return stages | outputs


def _outputs(opened: Opened, n: int) -> dict[str, npt.NDArray[np.float32]]:
    outputs = {"embedding": np.empty((n, opened.output_dim), np.float32)}
    if opened.dataset_dim:
        outputs["dataset_embedding"] = np.empty((n, opened.dataset_dim), np.float32)
    return outputs

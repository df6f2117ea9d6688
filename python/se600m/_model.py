"""A model that is ready to embed."""

from __future__ import annotations

import html
import json
import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _anndata, _decode, _genes, _library, _models, _native, _progress, errors
from se600m._flow import DimensionFlow, Stage
from se600m._report import Report, log

MIN_COVERAGE = 0.1
"""Least share of a data set's genes that a model must know. Human data sets with full annotation reach
a third; other species and other kinds of identifiers next to nothing."""


@dataclass(frozen=True)
class CellSentences:
    """Cells as the model reads them.

    Attributes
    ----------
    gene_indices
        Gene tokens, int32 ``[n_cells, S]``; slot 0 is ``[CLS]`` (``model.cls_index``).
    expression_values
        100 × each gene's share of the cell's summed log1p values, float32 ``[n_cells, S]``.
    multiplicity
        How many equal tokens a slot stands for, float32 ``[n_cells, S]``; 0 past a cell's length.
    lengths
        Number of slots in use, int32 ``[n_cells]``.
    share
        Share of each cell's summed values that genes known to the model carry, float32 ``[n_cells]``.
    fill
        The fill policy that was in force.
    """

    gene_indices: npt.NDArray[np.int32]
    expression_values: npt.NDArray[np.float32]
    multiplicity: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int32]
    share: npt.NDArray[np.float32]
    fill: str


@dataclass(frozen=True)
class _Cells:
    """Choices for sentences and execution, checked."""

    expression: str
    fill: str
    seed: int
    batch_size: int
    threads: int

    @classmethod
    def checked(cls, expression: str, fill: str, seed: int, batch_size: int | None, threads: int | None) -> _Cells:
        return cls(
            str(expression),
            str(fill),
            whole("seed", seed, 0, 2**64 - 1),
            0 if batch_size is None else whole("batch_size", batch_size, 1, 1 << 20),
            0 if threads is None else whole("threads", threads, 1, 1024),
        )

    def request(
        self, model: int, chunk: _anndata.Chunk, first_row: int, tokens: npt.NDArray[np.int32]
    ) -> dict[str, Any]:
        return {
            "model": model,
            "matrix": chunk.request,
            "first_row": first_row,
            "tokens": _native.array(tokens),
            "expression": self.expression,
            "fill": self.fill,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "threads": self.threads,
        }


def whole(name: str, value: Any, least: int, most: int) -> int:
    """Check a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise errors.OptionError(f"{name}={value!r} is not a whole number from {least} to {most}")
    return int(value)


class Model:
    """A State model, opened by :func:`load_model`.

    Attributes
    ----------
    name, device, precision
        What runs, where, and how exactly.
    genes
        Gene symbols in token order.
    cls_index
        The token of ``[CLS]``: ``len(genes)``.
    output_dim, dataset_dim
        Widths of the embedding and of the dataset embedding (0: the model has none).
    """

    def __init__(self, directory: Path, device: str = "auto", precision: str = "auto") -> None:
        self.runtime_version = _library.open_runtime(device, precision)
        handle: int = _native.call("OpenModel", str(directory), device, precision)
        self._open = weakref.finalize(self, _close, handle)
        description = json.loads(_native.call("DescribeModel", handle))
        self.config: dict[str, Any] = description["config"]
        self.device: str = description["device"]
        self.checksum: str = description["checksum"]
        self._stages: list[dict[str, Any]] = description["stages"]
        self.directory = directory
        self.name: str = self.config["name"]
        self.precision: str = description["precision"]
        self.genes: list[str] = _native.call("ModelGenes", handle).split("\n")
        self.dimensions: dict[str, int] = self.config["dimensions"]

    @property
    def cls_index(self) -> int:
        """Token of ``[CLS]``."""
        return len(self.genes)

    @property
    def output_dim(self) -> int:
        """Width of the embedding."""
        return self.dimensions["output_dim"]

    @property
    def dataset_dim(self) -> int:
        """Width of the dataset embedding; 0 if the model has none."""
        return self.dimensions["dataset_dim"]

    def close(self) -> None:
        """Free the model's memory. It can't be used any more."""
        self._open()

    @property
    def _handle(self) -> int:
        opened = self._open.peek()
        if opened is None:
            raise errors.ModelClosedError(f"model {self.name!r} was closed: load it again")
        return int(opened[2][0])

    # -- cells ---------------------------------------------------------------------------------

    def _match(self, source: _anndata.Expression, min_coverage: float) -> tuple[npt.NDArray[np.int32], Report]:
        if not isinstance(min_coverage, int | float) or not 0 <= min_coverage <= 1:
            raise errors.OptionError(f"min_coverage={min_coverage!r} is not a share from 0 to 1")
        tokens, match = _native.match_genes(self._handle, source.columns, float(min_coverage))
        return tokens, Report(source.where, source.n_cells, match)

    def compute(
        self,
        adata: AnnData,
        *,
        layer: str | None = None,
        use_raw: bool = False,
        gene_column: str | None = None,
        expression: str = "auto",
        fill: str = "auto",
        seed: int = 0,
        batch_size: int | None = None,
        threads: int | None = None,
        min_coverage: float = MIN_COVERAGE,
        progress: bool | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None, Report]:
        """Embed cells into new arrays, as :func:`se600m.embed` does into an AnnData.

        Returns
        -------
        embedding
            float32 ``[n_cells, output_dim]``, rows of unit length.
        dataset_embedding
            float32 ``[n_cells, dataset_dim]``, or None.
        report
            What was seen on the way: fill policy, genes matched, cells taken as counts or log1p.
        """
        cells = _Cells.checked(expression, fill, seed, batch_size, threads)
        source = _anndata.read(adata, layer=layer, use_raw=use_raw, gene_column=gene_column)
        tokens, report = self._match(source, min_coverage)
        n = source.n_cells
        embedding = np.empty((n, self.output_dim), np.float32)
        dataset = np.empty((n, self.dataset_dim), np.float32) if self.dataset_dim else None
        with _progress.bar(progress, f"Embedding with {self.name}", n) as update:
            for first, chunk in source.chunks():
                rows = slice(first, first + chunk.n_cells)
                request = cells.request(self._handle, chunk, first, tokens)
                request["embedding"] = _native.array(embedding[rows])
                request["share"] = _native.array(report.share[rows])
                if dataset is not None:
                    request["dataset_embedding"] = _native.array(dataset[rows])
                report.add(_run_cells("embed", request, update, source, adata, first))
        report.tell(cells.expression, _elsewhere(adata, report))
        return embedding, dataset, report

    def embed(
        self,
        adata: AnnData,
        *,
        key_added: str = "X_state",
        with_dataset_embedding: bool = False,
        copy: bool = False,
        **options: Any,
    ) -> AnnData | None:
        """Embed cells with this model. See :func:`se600m.embed` for the options."""
        if not isinstance(key_added, str) or not key_added or "/" in key_added:
            raise errors.OptionError(f"key_added={key_added!r} is no key for adata.obsm")
        if with_dataset_embedding and not self.dataset_dim:
            raise errors.NotInModelError(
                f"with_dataset_embedding=True, but model {self.name!r} has no dataset embedding: leave it out"
            )
        embedding, dataset, report = self.compute(adata, **options)
        result = adata.copy() if copy else adata
        if with_dataset_embedding and dataset is not None:
            embedding, dataset = np.hstack([embedding, dataset]), None
        result.obsm[key_added] = embedding
        if dataset is not None:
            result.obsm[f"{key_added}_dataset"] = dataset
        result.uns[key_added] = self._provenance(report, options)
        return result if copy else None

    def _provenance(self, report: Report, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": self.name,
            "model_checksum": self.checksum,
            "package": f"se600m-go {_native.version()}",
            "runtime": f"onnxruntime {self.runtime_version}",
            "provider": self.device,
            "precision": self.precision,
            "seed": int(options.get("seed", 0)),
            "expression": str(options.get("expression", "auto")),
            **report.provenance(),
        }

    def tokenize(
        self,
        adata: AnnData,
        *,
        layer: str | None = None,
        use_raw: bool = False,
        gene_column: str | None = None,
        expression: str = "auto",
        fill: str = "auto",
        seed: int = 0,
        threads: int | None = None,
        min_coverage: float = MIN_COVERAGE,
    ) -> CellSentences:
        """Turn cells into sentences. See :func:`se600m.tokenize`."""
        cells = _Cells.checked(expression, fill, seed, None, threads)
        source = _anndata.read(adata, layer=layer, use_raw=use_raw, gene_column=gene_column)
        tokens, report = self._match(source, min_coverage)
        sentences: CellSentences | None = None
        for first, chunk in source.chunks():
            request = cells.request(self._handle, chunk, first, tokens)
            if sentences is None:
                plan = _native.run("plan", request)
                shape = (source.n_cells, plan["max_length"])
                sentences = CellSentences(
                    np.empty(shape, np.int32),
                    np.empty(shape, np.float32),
                    np.empty(shape, np.float32),
                    np.empty(shape[0], np.int32),
                    report.share,
                    plan["fill"],
                )
            rows = slice(first, first + chunk.n_cells)
            request |= {
                "length": sentences.gene_indices.shape[1],
                "gene_indices": _native.array(sentences.gene_indices[rows]),
                "expression_values": _native.array(sentences.expression_values[rows]),
                "multiplicity": _native.array(sentences.multiplicity[rows]),
                "lengths": _native.array(sentences.lengths[rows]),
                "share": _native.array(report.share[rows]),
            }
            report.add(_run_cells("tokenize", request, None, source, adata, first))
        assert sentences is not None  # there is at least one cell
        report.tell(cells.expression, _elsewhere(adata, report))
        return sentences

    # -- sentences -----------------------------------------------------------------------------

    def embed_sentences(
        self,
        gene_indices: npt.ArrayLike,
        expression_values: npt.ArrayLike,
        multiplicity: npt.ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Embed sentences made elsewhere.

        Parameters
        ----------
        gene_indices
            Gene tokens ``[n, S]``; slot 0 must be ``cls_index``.
        expression_values
            100 × each gene's share of the cell's summed log1p values, ``[n, S]``.
        multiplicity
            How many equal tokens a slot stands for, ``[n, S]``; 0 leaves a slot out.

        Returns
        -------
        embedding, dataset_embedding
            float32 ``[n, output_dim]``, rows of unit length; float32 ``[n, dataset_dim]`` or None.
        """
        request, arrays = self._sentences(gene_indices, expression_values, multiplicity)
        n = request["n_cells"]
        request["batch_size"] = 0 if batch_size is None else whole("batch_size", batch_size, 1, 1 << 20)
        request["threads"] = 0 if threads is None else whole("threads", threads, 1, 1024)
        embedding, dataset = self._outputs(n, request)
        _native.run("embed_sentences", request)
        del arrays
        return embedding, dataset

    def trace(self, adata: AnnData, **options: Any) -> dict[str, npt.NDArray[Any]]:
        """Run cells through every stage of the dimension flow, nothing folded or left out.

        Every stage of every token is kept: at SE-600M's width about 400 MB a cell, so trace a few.

        Parameters
        ----------
        adata
            Some cells, such as ``adata[:4]``.
        options
            Those of :func:`se600m.tokenize`.

        Returns
        -------
        dict
            ``gene_indices``, ``expression_values``, ``multiplicity`` ``[n, S]``, then the stages of
            :meth:`trace_sentences`.
        """
        sentences = self.tokenize(adata, **options)
        inputs = {
            "gene_indices": sentences.gene_indices,
            "expression_values": sentences.expression_values,
            "multiplicity": sentences.multiplicity,
        }
        return inputs | self.trace_sentences(**inputs)

    def trace_sentences(
        self,
        gene_indices: npt.ArrayLike,
        expression_values: npt.ArrayLike,
        multiplicity: npt.ArrayLike | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Run sentences through the unfolded graph and keep every stage of the dimension flow.

        Returns
        -------
        dict
            ``gene_embedding [n, S, token_dim]``, ``projection`` and ``tokens [n, T, emsize]`` (T has the
            dataset token, too, if the model has one), ``layer_1`` … ``[n, T, emsize]``,
            ``head [n, T, output_dim]``, ``embedding [n, output_dim]`` and ``dataset_embedding``.
        """
        request, arrays = self._sentences(gene_indices, expression_values, multiplicity)
        n, length = request["n_cells"], request["length"]
        embedding, dataset = self._outputs(n, request)
        stages = {s["name"]: np.empty((n, length + s["with_dataset"], s["width"]), np.float32) for s in self._stages}
        request["stages"] = [_native.array(values) for values in stages.values()]
        _native.run("trace", request)
        del arrays
        stages["embedding"] = embedding
        if dataset is not None:
            stages["dataset_embedding"] = dataset
        return stages

    def _sentences(self, *given: npt.ArrayLike | None) -> tuple[dict[str, Any], list[npt.NDArray[Any]]]:
        """Describe sentences for Go, with the arrays to keep meanwhile."""
        names = ("gene_indices", "expression_values", "multiplicity")
        indices = np.asarray(given[0])
        if indices.ndim != 2 or indices.size == 0 or indices.dtype.kind not in "iu":
            raise errors.OptionError(
                f"gene_indices must be whole numbers [n, S], not {indices.dtype} {list(indices.shape)}"
            )
        request: dict[str, Any] = {"model": self._handle, "n_cells": indices.shape[0], "length": indices.shape[1]}
        arrays: list[npt.NDArray[Any]] = []
        for name, values, dtype in zip(names, given, (np.int32, np.float32, np.float32), strict=True):
            if values is None:
                continue
            original = np.asarray(values)
            if original.shape != indices.shape:
                raise errors.OptionError(f"{name} is {list(original.shape)}, gene_indices {list(indices.shape)}")
            converted = np.ascontiguousarray(original, dtype)
            if dtype is np.int32 and not np.array_equal(converted, original):
                raise errors.OptionError(f"gene_indices go up to {original.max()}, past the vocabulary")
            arrays.append(converted)
            request[name] = _native.array(converted)
        return request, arrays

    def _outputs(
        self, n: int, request: dict[str, Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        embedding = np.empty((n, self.output_dim), np.float32)
        dataset = np.empty((n, self.dataset_dim), np.float32) if self.dataset_dim else None
        request["embedding"] = _native.array(embedding)
        if dataset is not None:
            request["dataset_embedding"] = _native.array(dataset)
        return embedding, dataset

    # -- genes ---------------------------------------------------------------------------------

    def _tokens(self, genes: Iterable[str] | str) -> npt.NDArray[np.int32]:
        return _genes.tokens_of(self._handle, self.genes, genes)

    def gene_embeddings(self, genes: Iterable[str] | str | None = None) -> npt.NDArray[np.float32]:
        """Look up what the model knows of genes, whatever the cell.

        Parameters
        ----------
        genes
            Gene symbols or Ensembl ids; None: all of ``model.genes``.

        Returns
        -------
        ndarray
            float32 ``[k, emsize]``: the projection of each gene's protein embedding, not normalised.

        Raises
        ------
        UnknownGeneError
            Names the gene and the nearest symbol.
        """
        tokens = self._tokens(self.genes if genes is None else genes)
        embeddings = np.empty((len(tokens), self.dimensions["emsize"]), np.float32)
        request = {"model": self._handle, "genes": _native.array(tokens), "output": _native.array(embeddings)}
        _native.run("gene_embeddings", request)
        return embeddings

    def contextual_gene_embeddings(
        self,
        adata: AnnData,
        genes: Iterable[str] | str | None = None,
        *,
        out: Any = None,
        layer: str | None = None,
        use_raw: bool = False,
        gene_column: str | None = None,
        expression: str = "auto",
        fill: str = "auto",
        seed: int = 0,
        batch_size: int | None = None,
        threads: int | None = None,
        min_coverage: float = MIN_COVERAGE,
        progress: bool | None = None,
    ) -> Any:
        """Compute the last layer's vectors of the genes of each cell.

        Every slot of SE-600M is 16.8 MB a cell; chosen genes are 8 kB each.

        Parameters
        ----------
        adata, layer, use_raw, gene_column, expression, fill, seed, batch_size, threads, min_coverage, progress
            As for :func:`se600m.embed`.
        genes
            Gene symbols or Ensembl ids; None: the slots of each cell's sentence.
        out
            None: memory. A path: a zarr group to create there (needs the extra ``zarr``), with the arrays
            ``embeddings`` and, without ``genes``, ``gene_indices``; it appears whole or not at all. Else an
            array of the result's shape (numpy, np.memmap, zarr or h5py), written some cells at a time.

        Returns
        -------
        ContextualGeneEmbeddings or array
            Without ``genes`` the vectors of all slots, ``embeddings [n_cells, S, emsize]``, with their
            ``gene_indices [n_cells, S]``. With ``genes`` float32 ``[n_cells, k, emsize]``, NaN where a gene
            is not in the cell's sentence; if several columns of the data set are the same gene, it is the
            one with the highest value.

        Raises
        ------
        UnknownGeneError, DestinationExistsError, MissingPackageError, DataError
        """
        from se600m import _contextual

        return _contextual.contextual(
            self,
            adata,
            genes,
            out=out,
            layer=layer,
            use_raw=use_raw,
            gene_column=gene_column,
            min_coverage=min_coverage,
            progress=progress,
            cells=_Cells.checked(expression, fill, seed, batch_size, threads),
        )

    def decode(
        self,
        embedding: Any,
        genes: Iterable[str] | str,
        *,
        read_depth: npt.ArrayLike = _decode.READ_DEPTH,
        dataset_embedding: Any = None,
        threads: int | None = None,
        progress: bool | None = None,
        out: Any = None,
    ) -> Any:
        """Predict the expression of genes in cells from their embeddings.

        Parameters
        ----------
        embedding
            ``[n, output_dim]``, or ``[n, output_dim + dataset_dim]`` with the dataset embedding in the last
            columns, as arc-state stores it. Anything whose rows can be sliced; read some rows at a time.
        genes
            Gene symbols or Ensembl ids.
        read_depth
            A number, or one a cell: the log1p depth that expression is predicted for.
        dataset_embedding
            ``[n, dataset_dim]``, for a decoder that takes it, if ``embedding`` does not have it.
        threads, progress
            As for :func:`se600m.embed`.
        out
            An array ``[n, k]`` of floating-point numbers to write into, some rows at a time, for results
            larger than memory: numpy, np.memmap, zarr or h5py. After an error its content is undefined.

        Returns
        -------
        array
            float32 ``[n, k]``, predicted log1p expression; or ``out``. A value depends on nothing but its
            cell and its gene.

        Raises
        ------
        NotInModelError
            The checkpoint has no decoder.
        UnknownGeneError
            Names the gene and the nearest symbol.
        OptionError
            Shapes or values don't fit.
        """
        return _decode.decode(
            self,
            embedding,
            genes,
            read_depth=read_depth,
            dataset_embedding=dataset_embedding,
            threads=0 if threads is None else whole("threads", threads, 1, 1024),
            progress=progress,
            out=out,
        )

    # -- looks ---------------------------------------------------------------------------------

    def dimension_flow(self) -> DimensionFlow:
        """Stages and shapes from a cell to its embedding; B is the batch size."""
        d = self.dimensions
        s, t = d["pad_length"], d["pad_length"] + bool(self.dataset_dim)
        scaled = self.config["expression_encoding"] == "scale"
        expression = {
            "soft-bins": "expression added as a learned embedding (soft bins)",
            "scale": "(expression came in with the lookup)",
            "none": "no expression enters",
        }[self.config["expression_encoding"]]
        return DimensionFlow(
            [
                Stage("cell", "[n_genes]", "counts or log1p values"),
                Stage(
                    "cell sentence",
                    f"[B, {s}] × 2",
                    f"gene_indices, expression_values: [CLS] and up to {s - 1:,} top genes",
                ),
                Stage(
                    "gene embedding lookup",
                    f"[B, {s}, {d['token_dim']}]",
                    f"{d['n_genes']:,} genes" + (", scaled by expression" if scaled else ""),
                ),
                Stage("projection", f"[B, {t}, {d['emsize']}]", expression),
                Stage(
                    f"transformer, {d['nlayers']} layers",
                    f"[B, {t}, {d['emsize']}]",
                    f"{d['nhead']} heads, feed-forward {d['d_hid']}",
                ),
                Stage("CLS extraction", f"[B, {d['output_dim']}]", "decoder head at [CLS], unit length"),
                Stage("adata.obsm", f"[n_cells, {d['output_dim']}]", "float32"),
            ]
        )

    def __repr__(self) -> str:
        return f"Model {self.name!r} on {self.device}, {self.precision}\n{self.dimension_flow()!r}"

    def _repr_html_(self) -> str:
        title = f"<b>{html.escape(self.name)}</b> on {html.escape(self.device)}, {html.escape(self.precision)}"
        return f"{title}{self.dimension_flow()._repr_html_()}"


def _close(handle: int) -> None:
    if os.getpid() == _native._LOADED_IN:
        _native.call("CloseModel", handle)


def _run_cells(
    kind: str,
    request: dict[str, Any],
    update: _native.Progress | None,
    source: _anndata.Expression,
    adata: AnnData,
    first: int,
) -> dict[str, Any]:
    """Run a job over cells; a value that is not finite is named as its owner knows it."""
    try:
        return dict(_native.run(kind, request, update))
    except errors.NotFiniteError as error:
        cell, gene = first + error.cell, error.gene  # type: ignore[attr-defined]
        name = source.columns[0][1][gene]
        raise errors.NotFiniteError(
            f"{source.where}[{cell}, {gene}] (cell {adata.obs_names[cell]!r}, gene {name!r}) "
            "is NaN or infinite: replace it, or drop the cell or the gene, before embedding"
        ) from None


def _elsewhere(adata: AnnData, report: Report) -> str | None:
    """Look for a better matrix where the one that was read looks wrong."""
    wrong = report.counted["n_negative"] or report.counted["n_fractional_counts"]
    return _anndata.place_of_expression(adata, report.where) if wrong else None


_opened: weakref.WeakValueDictionary[tuple[str, str, str], Model] = weakref.WeakValueDictionary()


def load_model(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Model:
    """Open a model.

    Parameters
    ----------
    name_or_path
        Name of a model in the package, a converted model directory, or a checkpoint, which is
        converted into the cache when it is first used. None: the package's default model.
    device
        ``"auto"``, ``"cpu"``, ``"openvino"`` (the CPU, through OpenVINO), ``"cuda"``, ``"cuda:N"``,
        ``"tensorrt"``. A device asked for by name never becomes another one.
    precision
        ``"auto"`` or ``"fp32"``, both exact; ``"int8"``, on the CPU: the layers multiply in 8 bits, with a
        scale for each weight's output channel and each token; ``"bf16"``, on a CPU with AVX512-BF16 or AMX,
        through OpenVINO (``se600m runtime install openvino``): what enters products is rounded to 8
        significant bits, and numbers belong to a kind of processor.
    checkpoint
        Name of one of several checkpoints in a folder, such as ``"epoch=4.ckpt"``. Which one was taken is
        logged (logger ``se600m``, INFO) and stands in ``model.config["source"]["checkpoint"]``.
    protein_embeddings
        Gene table (``.pt``) to use instead of the checkpoint's own.
    progress
        Show a bar while a checkpoint is converted.

    Raises
    ------
    ModelNotFoundError, ModelError, CheckpointError, DeviceError, RuntimeLibraryError
    """
    if not isinstance(precision, str):
        raise errors.OptionError(f"precision={precision!r} is not a name such as 'auto', 'fp32' or 'int8'")
    if not isinstance(device, str):
        raise errors.OptionError(f"device={device!r} is not a name such as 'auto', 'cpu' or 'cuda:0'")
    _library.open_runtime(device, precision)
    chosen = json.loads(_native.call("CheckDevice", device, precision))  # before a checkpoint is converted
    directory = _models.resolve(name_or_path, progress, checkpoint, protein_embeddings).resolve()
    key = (str(directory), chosen["device"], chosen["precision"])
    model = _opened.get(key)
    if model is None or not model._open.alive:
        model = _opened[key] = Model(directory, device, precision)
        log.info("model %s from checkpoint %s, in %s", model.name, model.config["source"]["checkpoint"], directory)
    return model

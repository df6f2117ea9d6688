"""The public model class, and the function that opens a model."""

from __future__ import annotations

import html
import multiprocessing
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import (
    _ann_collection,
    _anndata,
    _attention,
    _cells,
    _contextual,
    _decode,
    _destination,
    _lazy,
    _lazy_embed,
    _models,
    _native,
    _opened,
    _options,
    _sentences,
    errors,
)
from se600m._ann_collection import AnnCollection
from se600m._cells import CellEmbeddings, CellSentences
from se600m._flow import DimensionFlow, flow_of
from se600m._options import CellKeywords, Devices, GeneKeywords, Precision, RunKeywords


class Model:
    """A State model, opened by :func:`load_model`.

    A model can be copied, pickled and sent to other processes: a copy opens the same model again, from the same
    directory, on the same device and with the same precision. Copies in one process share their memory.

    Attributes
    ----------
    name, device, precision
        Name of the model, the device that it runs on, and the precision of the computation.
    genes
        Gene symbols, in the order of their tokens.
    cls_index
        Token of ``[CLS]``, which is ``len(genes)``.
    output_dim, dataset_dim
        Widths of the embedding and of the dataset embedding (0 if the model has none).
    directory, config, dimensions, checksum
        The converted model: its directory, its configuration, its sizes, and a checksum that identifies its
        weights, genes and configuration.

    Examples
    --------
    >>> with se600m.load_model() as model:  # its memory is freed at the end
    ...     model.embed(adata)
    >>> adata.obsm["X_state"].shape
    (100, 96)
    """

    _why_not: errors.SE600MError | None = None
    """Why a copy could not be opened in a worker process, where that is raised once the copy is used."""

    def __init__(self, opened: _opened.Opened, *, any_gpu: bool = False) -> None:
        self._shared: _opened.Opened | None = opened
        self._any_gpu = any_gpu  # workers of Dask may take others than the first
        self.name = opened.name
        self.device = opened.device
        self.precision = opened.precision
        self.checksum = opened.checksum
        self.runtime_version = opened.runtime_version
        self.directory = opened.directory
        self.config = opened.config
        self.dimensions = opened.dimensions
        self.genes = opened.genes
        self.output_dim = opened.output_dim
        self.dataset_dim = opened.dataset_dim

    @property
    def cls_index(self) -> int:
        """Token of ``[CLS]``."""
        return len(self.genes)

    @property
    def _opened(self) -> _opened.Opened:
        if self._why_not is not None:
            raise self._why_not
        if self._shared is None:
            raise errors.ModelClosedError(f"model {self.name!r} was closed: load it again")
        return self._shared

    if not TYPE_CHECKING:  # every name would be an attribute of Any type

        def __getattr__(self, name: str) -> Any:
            """Raise why this copy could not be opened, rather than say that it has no genes, for example."""
            if self._why_not is not None and not name.startswith("_"):
                raise self._why_not
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def close(self) -> None:
        """Close this model, which can't be used afterwards. Its memory is freed when no copy is open."""
        self._shared = None

    def __enter__(self) -> Model:
        """Return the model itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the model."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Describe the model for a copy or a pickle: where it is, and how it was opened."""
        opened = self._opened
        return _reopen, (opened.directory, opened.device, opened.precision, opened.checksum)

    # -- cells ---------------------------------------------------------------------------------

    @_options.accepts(RunKeywords)
    def compute(self, adata: AnnData, **options: Unpack[RunKeywords]) -> CellEmbeddings:
        """Embed cells and return the embedding as arrays. The AnnData is not modified.

        Parameters
        ----------
        adata
            Cells × genes, with raw counts or log1p values and human gene symbols or Ensembl ids.
        options
            See :func:`se600m.embed`.

        Examples
        --------
        >>> made = se600m.load_model().compute(adata)
        >>> made.embedding.shape, made.dataset_embedding.shape
        ((100, 96), (100, 10))
        """
        chosen = _options.cell_options("compute", RunKeywords, options)
        return _cells.embed(_cells.Cells(self._opened, adata, chosen))

    @_options.accepts(RunKeywords)
    def embed(
        self,
        adata: AnnData | AnnCollection,
        *,
        key_added: str = _options.KEY,
        with_dataset_embedding: bool = False,
        copy: bool = False,
        overwrite: bool = False,
        **options: Unpack[RunKeywords],
    ) -> AnnData | None:
        """Embed cells with this model and store the embedding in the AnnData.

        See :func:`se600m.embed` for the options and the result.
        """
        chosen = _options.cell_options("embed", RunKeywords, options)
        with_dataset_embedding = _options.flag("with_dataset_embedding", with_dataset_embedding)
        if with_dataset_embedding and not self.dataset_dim:
            raise errors.NotInModelError(
                f"with_dataset_embedding=True, but model {self.name!r} has no dataset embedding: leave it out"
            )
        apart = self.dataset_dim > 0 and not with_dataset_embedding
        collection = _ann_collection.check(adata, key_added, chosen, dataset=apart, overwrite=overwrite, copy=copy)
        if collection is not None:
            _ann_collection.check_fill(self._opened, collection, chosen)
            made = [self._made(part, chosen, apart) for part in collection]
            _ann_collection.write(adata, key_added, made)
            return None
        if (unheld := _destination.unheld(adata, copy)) is not None:
            del adata
            adata = unheld.taken_back()
        result = _destination.target(adata, copy)
        _destination.write_embedding(result, key_added, *self._made(result, chosen, apart))
        return result if copy else None

    def _made(self, adata: AnnData, chosen: _options.CellOptions, apart: bool) -> _ann_collection.Made:
        """Embed cells; the dataset embedding is apart, or in the last columns."""
        lazy = _anndata.lazy_rows(adata, chosen.layer, chosen.use_raw)
        if lazy is None:
            made = _cells.embed(_cells.Cells(self._opened, adata, chosen))
        else:
            made = _lazy_embed.embed(self._opened, adata, lazy, chosen, self._any_gpu)
        embedding, dataset = made.embedding, made.dataset_embedding
        within = dataset is not None and not apart
        if within:
            embedding, dataset = _side_by_side(embedding, dataset), None
        return embedding, dataset, made.provenance | {"with_dataset_embedding": within}

    @_options.accepts(CellKeywords)
    def tokenize(self, adata: AnnData, **options: Unpack[CellKeywords]) -> CellSentences:
        """Convert every cell into the sentence that the model reads in :meth:`embed`.

        See :func:`se600m.embed` for the options.
        """
        return _cells.tokenize(self._opened, adata, _options.cell_options("tokenize", CellKeywords, options))

    @_options.accepts(CellKeywords)
    def trace(self, adata: AnnData, **options: Unpack[CellKeywords]) -> dict[str, npt.NDArray[Any]]:
        """Run cells through every stage of the dimension flow and return all stages.

        Nothing is folded or left out, and every stage of every token is kept. With SE-600M this takes about 400 MB
        per cell, so trace only a few cells.

        Parameters
        ----------
        adata
            A few cells, such as ``adata[:4]``.
        options
            See :func:`se600m.embed`.

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

    # -- sentences -----------------------------------------------------------------------------

    def embed_sentences(
        self,
        gene_indices: npt.ArrayLike,
        expression_values: npt.ArrayLike,
        multiplicity: npt.ArrayLike | None = None,
        *,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> _sentences.Embeddings:
        """Embed cell sentences that were made elsewhere.

        Parameters
        ----------
        gene_indices
            Gene tokens ``[n, S]``; slot 0 must be ``cls_index``.
        expression_values
            100 × each gene's share of the cell's summed log1p values, ``[n, S]``.
        multiplicity
            Number of equal tokens that a slot stands for, ``[n, S]``; a slot with 0 is ignored. 1 by default.
        batch_size
            Number of sentences per batch.
        threads
            Number of threads; all cores by default.

        Returns
        -------
        embedding, dataset_embedding
            float32 ``[n, output_dim]``, rows of unit length; float32 ``[n, dataset_dim]`` or None.

        Examples
        --------
        >>> model = se600m.load_model()
        >>> made = model.tokenize(adata)
        >>> embedding, _ = model.embed_sentences(made.gene_indices, made.expression_values, made.multiplicity)
        >>> bool((embedding == model.compute(adata).embedding).all())
        True
        """
        sentences = _sentences.Sentences(gene_indices, expression_values, multiplicity)
        return _sentences.embed(self._opened, sentences, batch_size, threads)

    def trace_sentences(
        self,
        gene_indices: npt.ArrayLike,
        expression_values: npt.ArrayLike,
        multiplicity: npt.ArrayLike | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Run cell sentences through the unfolded graph and return every stage of the dimension flow.

        Returns
        -------
        dict
            ``gene_embedding [n, S, token_dim]``, ``projection`` and ``tokens [n, T, emsize]`` (T includes
            the dataset token if the model has one), ``layer_1`` … ``[n, T, emsize]``,
            ``head [n, T, output_dim]``, ``embedding [n, output_dim]`` and ``dataset_embedding``.
        """
        sentences = _sentences.Sentences(gene_indices, expression_values, multiplicity)
        return _sentences.trace(self._opened, sentences)

    # -- genes ---------------------------------------------------------------------------------

    def gene_embeddings(self, genes: Iterable[str] | str | None = None) -> npt.NDArray[np.float32]:
        """Return the model's embeddings of genes, which do not depend on a cell.

        Parameters
        ----------
        genes
            Gene symbols or Ensembl ids; all of ``model.genes`` by default.

        Returns
        -------
        ndarray
            float32 ``[k, emsize]``: the projection of each gene's protein embedding, not normalised.

        Raises
        ------
        UnknownGeneError
            The model does not know a gene. The message has the nearest symbol.

        Examples
        --------
        >>> se600m.load_model().gene_embeddings(["CD3D", "LYZ"]).shape
        (2, 128)
        """
        opened = self._opened
        tokens = opened.tokens_of(self.genes if genes is None else genes)
        embeddings = np.empty((len(tokens), self.dimensions["emsize"]), np.float32)
        request = {"model": opened.handle, "genes": _native.array(tokens), "output": _native.array(embeddings)}
        _native.run("gene_embeddings", request)
        return embeddings

    @_options.accepts(GeneKeywords)
    def contextual_gene_embeddings(
        self,
        adata: AnnData,
        genes: Iterable[str] | str | None = None,
        *,
        out: Any = None,
        overwrite: bool = False,
        **options: Unpack[GeneKeywords],
    ) -> Any:
        """Compute contextual gene embeddings: the output of the last layer for the genes of each cell.

        All slots of SE-600M take 16.8 MB per cell; selected genes take 8 kB per cell and gene.
        :func:`se600m.contextual_file` writes those of a file, in a run that can be resumed.

        Parameters
        ----------
        adata
            Cells × genes.
        genes
            Gene symbols or Ensembl ids. By default, all slots of each cell's sentence.
        out
            Where to write the result. None: a new array in memory. A path: a zarr group that is created there
            (requires the extra ``zarr``), with the arrays ``embeddings`` and, without ``genes``,
            ``gene_indices``; after an error it does not exist. Otherwise an array of the result's shape (numpy,
            np.memmap, zarr or h5py), which is written some cells at a time.
        overwrite
            Replace an existing zarr group at the path ``out``.
        options
            See :func:`se600m.embed`; ``genes`` are those that are reported here, and all genes enter the sentences.

        Returns
        -------
        ContextualGeneEmbeddings or array
            Without ``genes``, the vectors of all slots, ``embeddings [n_cells, S, emsize]``, and their
            ``gene_indices [n_cells, S]``. With ``genes``, float32 ``[n_cells, k, emsize]``, with NaN where a
            gene is not in the cell's sentence. If several columns of the data set are the same gene, the column
            with the highest value is used.

        Raises
        ------
        UnknownGeneError, DestinationError, MissingPackageError, DataError

        Examples
        --------
        Vectors of two genes in every cell, NaN where a gene is not in the cell's sentence:

        >>> se600m.load_model().contextual_gene_embeddings(adata, ["CD3D", "LYZ"]).shape
        (100, 2, 128)
        """
        chosen = _options.cell_options("contextual_gene_embeddings", GeneKeywords, options)
        return _contextual.contextual(self._opened, adata, genes, out, _options.flag("overwrite", overwrite), chosen)

    @_options.accepts(GeneKeywords)
    def attention(
        self,
        adata: AnnData,
        genes: Iterable[str] | str | None = None,
        *,
        attention_layer: int | Literal["mean"] | None = None,
        out: Any = None,
        **options: Unpack[GeneKeywords],
    ) -> Any:
        """Compute the attention of ``[CLS]`` to the genes of each cell.

        In every layer, ``[CLS]`` takes in a weighted mean of all tokens; a gene's attention is its weight there, as the
        mean over the heads. All weights of a cell add up to 1, those of ``[CLS]`` itself and of the dataset token, if
        the model has one, included. Attention tells what a layer reads, not what a gene changes in the embedding.

        Parameters
        ----------
        adata
            Cells × genes.
        genes
            Gene symbols or Ensembl ids. By default, all slots of each cell's sentence (16 kB per cell at
            2,048 slots, tokens included).
        attention_layer
            Number of the transformer layer, from 1 (the one that gives ``layer_1`` of :meth:`trace`), or ``"mean"`` for
            the mean over all layers. By default, the last one, from which the embedding is read.
        out
            Array of the result's shape (numpy, np.memmap, zarr or h5py), which is written some cells at a time; by
            default, a new array in memory.
        options
            See :func:`se600m.embed`; ``genes`` are those that are reported here, and all genes enter the sentences.

        Returns
        -------
        CLSAttention or array
            Without ``genes``, the attention to all slots, ``attention [n_cells, S]``, and their
            ``gene_indices [n_cells, S]``; ``of_cell(row)`` gives a cell's genes by name. With ``genes``, float32
            ``[n_cells, k]``, with NaN where a gene is not in the cell's sentence.

            Attention to a gene is the sum over its copies: where the fill policy has a slot stand for several equal
            tokens (``multiplicity`` of :func:`se600m.tokenize`, not always a whole number), the slot has the attention
            to all of them, and a gene with several columns or slots has the sum of these. By default, genes that are
            not expressed fill the slots that are left, and get attention, too; ``fill="none"`` leaves them out.

        Raises
        ------
        UnknownGeneError, OptionError, DestinationError, DataError

        Examples
        --------
        The five genes of the first cell to which ``[CLS]`` pays most attention:

        >>> model = se600m.load_model()
        >>> found = model.attention(adata[:1])
        >>> top = found.of_cell(0).head(5)
        >>> top.index[0] in model.genes
        True
        """
        chosen = _options.cell_options("attention", GeneKeywords, options)
        return _attention.attention(self._opened, adata, genes, attention_layer, out, chosen)

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
            columns, as arc-state stores it. Any array whose rows can be sliced; some rows are read at a time.
        genes
            Gene symbols or Ensembl ids.
        read_depth
            Read depth (log1p) for which expression is predicted: a finite number from 0, or one number per cell.
        dataset_embedding
            ``[n, dataset_dim]``. Required if the decoder uses it and ``embedding`` does not contain it.
        threads
            Number of threads; all cores by default.
        progress
            Show a progress bar; by default in notebooks and terminals.
        out
            Array ``[n, k]`` of floating-point numbers (numpy, np.memmap, zarr or h5py) that is written some rows
            at a time, for results larger than memory. After an error its content is undefined.

        Returns
        -------
        array
            Predicted log1p expression, float32 ``[n, k]``; or ``out``. A value depends only on its cell and its
            gene.

        Raises
        ------
        NotInModelError
            The checkpoint has no decoder.
        UnknownGeneError
            The model does not know a gene. The message has the nearest symbol.
        OptionError
            Shapes or values do not match.

        Examples
        --------
        >>> model = se600m.load_model()
        >>> model.embed(adata)
        >>> predicted = model.decode(
        ...     adata.obsm["X_state"], ["CD3D", "LYZ"], dataset_embedding=adata.obsm["X_state_dataset"]
        ... )
        >>> predicted.shape
        (100, 2)
        """
        progress = _options.flag_or_none("progress", progress)
        return _decode.decode(
            self._opened,
            embedding,
            genes,
            read_depth=read_depth,
            dataset_embedding=dataset_embedding,
            threads=threads,
            progress=progress,
            out=out,
        )

    # -- looks ---------------------------------------------------------------------------------

    def dimension_flow(self) -> DimensionFlow:
        """Return the stages and shapes from a cell to its embedding; B is the batch size.

        Examples
        --------
        >>> [stage.name for stage in se600m.load_model().dimension_flow()][:3]
        ['cell', 'cell sentence', 'gene embedding lookup']
        """
        return flow_of(self.config)

    def __repr__(self) -> str:
        if self._why_not is not None:
            return f"Model that could not be opened in this process: {self._why_not}"
        return f"Model {self.name!r} on {self.device}, {self.precision}\n{self.dimension_flow()!r}"

    def _repr_html_(self) -> str:
        if self._why_not is not None:
            return html.escape(repr(self))
        title = f"<b>{html.escape(self.name)}</b> on {html.escape(self.device)}, {html.escape(self.precision)}"
        return f"{title}{self.dimension_flow()._repr_html_()}"


def _side_by_side(embedding: Any, dataset: Any) -> Any:
    joined: Any = np.concatenate([embedding, dataset], axis=1)  # dask's own, for its arrays
    return joined.rechunk({1: -1}) if _lazy.is_dask(joined) else joined


def _reopen(directory: Path, device: str, precision: str, checksum: str) -> Model:
    """Open a model again that was copied or pickled.

    An error in a worker process is raised once the model is used there: pools read what they are sent outside the
    task, and one of multiprocessing's waits for ever for a worker that fails to.
    """
    try:
        return _reopened(directory, device, precision, checksum)
    except errors.SE600MError as error:
        if multiprocessing.parent_process() is None and not _native.forked():
            raise
        model = Model.__new__(Model)
        model._why_not = error
        return model


def _reopened(directory: Path, device: str, precision: str, checksum: str) -> Model:
    if not directory.is_dir():
        raise errors.ModelNotFoundError(
            f"the model's directory {str(directory)!r} does not exist: load the model again with se600m.load_model"
        )
    opened = _opened.open_directory(directory, device, precision)
    if opened.checksum != checksum:
        raise errors.ModelError(
            f"the model in {str(directory)!r} has changed (its checksum is {opened.checksum[:12]}, it was "
            f"{checksum[:12]}): load it again with se600m.load_model"
        )
    return Model(opened)


def load_model(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    device: Devices = "auto",
    precision: Precision = "auto",
    checkpoint: str | None = None,
    protein_embeddings: str | os.PathLike[str] | None = None,
    accept_licence: bool = False,
    progress: bool | None = None,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path
        Name of a model in the package, ``"SE-600M"``, a converted model directory, or a checkpoint. SE-600M is
        downloaded when it is first used, and a checkpoint is converted into the cache (see :func:`download`). By
        default, the package's default model.
    device
        ``"auto"``, ``"cpu"``, ``"openvino"`` (the CPU, through OpenVINO), ``"cuda"``, ``"cuda:N"``, ``"tensorrt"``
        or ``"tensorrt:N"`` (NVIDIA GPUs), or a list of GPUs, such as ``["cuda:0", "cuda:1"]``, which share the
        cells. ``"auto"`` is the first GPU if ``se600m runtime install cuda`` was run and a GPU can be used, and the
        CPU otherwise. If a device that was requested by name is not available, this is an error.
    precision
        ``"auto"``: fp32 on the CPU, fp16 on a GPU. ``"fp32"``: the precision of the reference implementation on a
        CPU. ``"fp16"`` and ``"bf16"``, on a GPU: matrix products take numbers of 11 or 8 significant bits, and sums
        are fp32; the reference implementation uses bf16 there. ``"int8"``, on the CPU:
        the layers multiply in 8 bits, with a scale per output channel of a weight and per token. ``"bf16"``, on a
        CPU with AVX512-BF16 or AMX, through OpenVINO (``se600m runtime install openvino``): inputs of matrix
        products are rounded to 8 significant bits, and the results depend on the type of the processor.
    checkpoint
        Name of one of several checkpoints in a folder, such as ``"epoch=4.ckpt"``. The checkpoint that was used
        is logged (logger ``se600m``, level INFO) and is in ``model.config["source"]["checkpoint"]``.
    protein_embeddings
        Gene table (``.pt``) to use instead of the checkpoint's own.
    accept_licence
        Accept the licence and the acceptable-use policy of a model that is to be downloaded; remembered for this user.
    progress
        Show a progress bar while a checkpoint is downloaded and converted; by default in notebooks and terminals.

    Returns
    -------
    Model
        Objects of the same model, on the same device and with the same precision, share their memory.

    Raises
    ------
    ModelNotFoundError, ModelError, CheckpointError, DeviceError, RuntimeLibraryError, LicenceError, DownloadError

    Examples
    --------
    >>> model = se600m.load_model("se-mini", device="cpu")
    >>> model.name, model.output_dim, len(model.genes)
    ('se-mini', 96, 9429)
    """
    chosen = _options.devices(device)
    if _options.flag("accept_licence", accept_licence) and name_or_path is not None:
        _models.accept_licence(name_or_path)
    progress = _options.flag_or_none("progress", progress)
    opened = _opened.open_model(name_or_path, chosen, precision, checkpoint, protein_embeddings, progress)
    return Model(opened, any_gpu=chosen == "auto")

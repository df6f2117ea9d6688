"""The functions of the public API that work like those of scanpy."""

from __future__ import annotations

import os
from typing import Any, Unpack

from anndata import AnnData

from se600m import _ann_collection, _anndata, _destination, _options, errors
from se600m._ann_collection import AnnCollection
from se600m._cells import CellSentences
from se600m._model import Model, load_model
from se600m._options import CellKeywords, Devices, Precision, RunKeywords

ModelLike = Model | str | os.PathLike[str] | None


@_options.accepts(RunKeywords)
def embed(
    adata: AnnData | AnnCollection,
    *,
    model: ModelLike = None,
    key_added: str = _options.KEY,
    device: Devices = "auto",
    precision: Precision = "auto",
    with_dataset_embedding: bool = False,
    copy: bool = False,
    overwrite: bool = False,
    **options: Unpack[RunKeywords],
) -> AnnData | None:
    """Embed every cell with a State model.

    Parameters
    ----------
    adata
        Cells × genes, with raw counts or log1p values and human gene symbols or Ensembl ids. If the column
        ``feature_types`` of ``var`` contains "Gene Expression", columns of other types are ignored. An
        :class:`~anndata.experimental.AnnCollection` is embedded, too: each of its AnnDatas, with its own genes, gets
        its rows; the collection has them if it is made again, or at once if it was made with ``join_obsm="inner"``.
    model
        A :class:`Model`, the name of a model, a converted directory or a checkpoint (see :func:`load_model`).
    key_added
        Key of ``adata.obsm`` under which the embedding is stored.
    device, precision
        Device to run on, and precision of the computation (see :func:`load_model`). If ``model`` is a
        :class:`Model`, its own device and precision are used, and another value is an error.
    with_dataset_embedding
        Append the dataset embedding to the embedding, as arc-state does (2058 columns for SE-600M),
        instead of storing it under a separate key.
    copy
        Return a copy with the embedding instead of modifying ``adata``. The copy of a backed AnnData is in memory.
    overwrite
        Replace existing entries under the keys of the result that se600m did not write; without it, they are an
        error. An earlier embedding by se600m is always replaced.
    layer, use_raw
        Where to read the expression, if not from ``adata.X``: the name of a layer, or True for ``adata.raw.X``.
    gene_column
        Column of ``var`` with the gene symbols or Ensembl ids. By default, ``var_names`` or the column with text
        that has the most known genes.
    genes
        Genes that may enter the sentences, by a name that the data set has or the model knows, such as
        ``adata.var_names[adata.var["highly_variable"]]``; by default all. The others do not exist for the model:
        they are neither ranked nor drawn to fill slots, and a gene's share of the expression is its share of what
        the chosen genes have (see Notes).
    expression
        Type of the values: ``"counts"``, ``"log1p"``, or ``"auto"``, which decides for each cell separately, as
        the reference implementation does.
    fill
        How the slots of a sentence that the expressed genes leave empty are filled: ``"shared"``,
        ``"independent"``, ``"expected"`` or ``"none"``. ``"auto"`` uses ``"expected"`` for panels with fewer
        genes than slots, and ``"shared"`` otherwise.
    seed
        Random seed, a whole number from 0.
    batch_size
        Number of cells per batch. It affects the speed, not the result.
    threads
        Number of threads; all cores by default. It affects the speed, not the result.
    min_coverage
        Minimum coverage, from 0 to 1: the model must know at least this share of the data set's genes, or the
        data set must have at least this share of the model's genes.
    strict
        Raise an error instead of a warning if the data set looks wrong, before the model runs.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Returns
    -------
    AnnData or None
        The copy if ``copy=True``, otherwise None. These entries are written:

        ``obsm[key_added]``
            The embedding, float32 ``[n_cells, output_dim]``, with rows of unit length. If the matrix is a dask array,
            so is this, with the same chunks of cells (see Notes).
        ``obsm[key_added + "_dataset"]``
            The dataset embedding, float32 ``[n_cells, dataset_dim]``, if the model has one.
        ``uns[key_added]``
            The model, the options and a summary of the data.

        After an error or Ctrl-C nothing is written.

    Raises
    ------
    SE600MError
        One of the classes of :mod:`se600m.errors`. The message names the value and says what to do.

    Notes
    -----
    All cells are checked before the model runs. Data that is not in memory (backed or zarr) is therefore read twice,
    some cells at a time: for the checks, and for the embedding.

    With ``genes``, what is found out about the data is still found out about all genes: the share of the genes that the
    model knows, whether a cell has counts or log1p values, and whether the values look wrong. Only the sentences are
    made of the chosen genes. With ``expression="counts"`` or ``"log1p"``, the result is that of ``adata[:, genes]``,
    bit for bit. With ``"auto"`` it may differ in cells whose chosen genes alone would be taken for something else: a
    few small counts could be log1p values, but the other genes of the cell tell that they are counts.

    If the matrix is a dask array, nothing of it is computed here: ``obsm`` gets dask arrays, which have the same values
    as for data in memory, bit for bit. Options and genes are checked at once. The values of a block are checked when
    the block is computed: a value that is not finite is an error then, and a warning names the cells of the block.
    What is counted over all cells is not in ``uns``. With ``strict=True`` all cells are read and checked at once, as
    for data in memory. A worker process opens the model once; ``threads`` are by default those of the worker, and
    the workers of a host share the GPUs out among them if ``device`` is ``"auto"`` or a list.

    Examples
    --------
    The small model of the package, which is the default, has embeddings of 96 columns:

    >>> se600m.embed(adata)
    >>> adata.obsm["X_state"].shape
    (100, 96)
    >>> adata.uns["X_state"]["model"], adata.uns["X_state"]["n_matched"]
    ('se-mini', 681)
    """
    # All of it before a model is converted and opened.
    chosen = _options.cell_options("embed", RunKeywords, options)
    _options.kept_genes(options, chosen)
    _options.flag("with_dataset_embedding", with_dataset_embedding)
    collection = _ann_collection.check(adata, key_added, chosen, dataset=False, overwrite=overwrite, copy=copy)
    if collection is None and (unheld := _destination.unheld(adata, copy)) is not None:
        del adata
        adata = unheld.taken_back()
    return open_model(model, device, precision, options.get("progress")).embed(
        adata,
        key_added=key_added,
        with_dataset_embedding=with_dataset_embedding,
        copy=copy,
        overwrite=overwrite,
        **options,
    )


@_options.accepts(CellKeywords)
def tokenize(adata: AnnData, *, model: ModelLike = None, **options: Unpack[CellKeywords]) -> CellSentences:
    """Convert every cell into the sentence that the model reads in :func:`embed`.

    The parameters are the same as in :func:`embed`.

    Returns
    -------
    CellSentences
        Gene tokens and expression values, one row per cell.

    Examples
    --------
    The genes that the model reads first in the first cell, after ``[CLS]``:

    >>> model = se600m.load_model()
    >>> sentences = se600m.tokenize(adata, model=model)
    >>> [model.genes[token] for token in sentences.gene_indices[0, 1:5]]
    ['FTL', 'CD74', 'HLA-DPA1', 'JUNB']
    """
    chosen = _options.cell_options("tokenize", CellKeywords, options)
    _options.kept_genes(options, chosen)
    _anndata.check(adata, **chosen.source())
    return open_model(model, "auto", "auto", options.get("progress")).tokenize(adata, **options)


def open_model(model: ModelLike, device: Devices, precision: Precision, progress: bool | None, **files: Any) -> Model:
    """Open a model by name, or make sure that one that is open is of the device and the precision.

    ``files`` are those that :func:`load_model` takes.
    """
    if not isinstance(model, Model):
        return load_model(model, device=device, precision=precision, progress=progress, **files)
    for name, value in files.items():
        if value is not None:
            raise errors.OptionError(f"{name}={str(value)!r}, but the given model is open already: leave it out")
    _options.check_precision(precision)
    devices = _options.devices(device)
    for name, asked, own in (("device", devices, model.device), ("precision", precision, model.precision)):
        if asked not in ("auto", own, own.removesuffix(":0")):
            raise errors.OptionError(
                f'{name}="{asked}", but the given model uses {name}="{own}": leave {name} out, or '
                f'load the model with se600m.load_model(..., {name}="{asked}")'
            )
    return model

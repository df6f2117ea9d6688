"""The scanpy-shaped functions."""

from __future__ import annotations

import os
from typing import Unpack

from anndata import AnnData

from se600m import _destination, _options, errors
from se600m._cells import CellSentences
from se600m._model import Model, load_model
from se600m._options import CellKeywords, Device, Precision, RunKeywords

ModelLike = Model | str | os.PathLike[str] | None


@_options.accepts(RunKeywords)
def embed(
    adata: AnnData,
    *,
    model: ModelLike = None,
    key_added: str = "X_state",
    device: Device = "auto",
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
        Cells × genes: raw counts or log1p values, human gene symbols or Ensembl ids. Where a column
        ``feature_types`` of ``var`` has "Gene Expression", columns of other types are left out.
    model
        A :class:`Model`, the name of one, a converted directory or a checkpoint (see :func:`load_model`).
    key_added
        Key of ``adata.obsm`` for the embedding.
    device, precision
        The device to run on, and the precision of the computation (see :func:`load_model`). With a
        :class:`Model` they are the model's own, and another value is an error.
    with_dataset_embedding
        Append the dataset embedding to the embedding, as arc-state stores the two (2058 columns for
        SE-600M), instead of storing it under a key of its own.
    copy
        Return a copy with the embedding instead of writing to ``adata``. The copy of a backed AnnData is in memory.
    overwrite
        Replace what others wrote under the keys of the result, which is an error otherwise. An embedding by se600m
        is always replaced.
    layer, use_raw
        Where the expression is, if not in ``adata.X``: a layer, or ``adata.raw.X``.
    gene_column
        Column of ``var`` with the gene symbols, if they are not ``var_names``.
    expression
        ``"counts"``, ``"log1p"``, or ``"auto"``: each cell is judged on its own, as the reference does.
    fill
        How slots of a sentence that expressed genes leave empty are filled: ``"shared"``,
        ``"independent"``, ``"expected"``, ``"none"``; ``"auto"`` is ``"expected"`` for panels with fewer
        genes than slots, else ``"shared"``.
    seed
        Seed of every random choice, a whole number from 0.
    batch_size
        Number of cells per batch. It changes the speed, never the numbers.
    threads
        Number of threads; all cores by default. It changes the speed, never the numbers.
    min_coverage
        From 0 to 1: the model must know at least this share of the data set's genes, or the data set must have
        at least this share of the model's genes.
    strict
        Raise an error where the data set looks wrong, instead of a warning, before the model runs.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Returns
    -------
    AnnData or None
        None, or the copy. Written are ``obsm[key_added]``, float32 ``[n_cells, output_dim]`` with rows of
        unit length; ``obsm[key_added + "_dataset"]``, float32 ``[n_cells, dataset_dim]``, if the model has a
        dataset embedding; and
        ``uns[key_added]``, what the embedding was made with. After an error or Ctrl-C nothing is written.

    Raises
    ------
    SE600MError
        One of the classes of :mod:`se600m.errors`, naming the value and the way out.
    """
    _options.cell_options("embed", RunKeywords, options)  # before a model is converted and opened
    _destination.check_embedding(adata, key_added, dataset=False, overwrite=overwrite, copy=copy)
    if (unheld := _destination.unheld(adata, copy)) is not None:
        del adata
        adata = unheld.taken_back()
    return _model(model, device, precision, options.get("progress")).embed(
        adata,
        key_added=key_added,
        with_dataset_embedding=with_dataset_embedding,
        copy=copy,
        overwrite=overwrite,
        **options,
    )


@_options.accepts(CellKeywords)
def tokenize(adata: AnnData, *, model: ModelLike = None, **options: Unpack[CellKeywords]) -> CellSentences:
    """Turn every cell into the sentence that :func:`embed` gives to the model.

    The parameters are those of :func:`embed`.
    """
    _options.cell_options("tokenize", CellKeywords, options)
    return _model(model, "auto", "auto", options.get("progress")).tokenize(adata, **options)


def _model(model: ModelLike, device: Device, precision: Precision, progress: bool | None) -> Model:
    if not isinstance(model, Model):
        return load_model(model, device=device, precision=precision, progress=progress)
    _options.check_device(device)
    _options.check_precision(precision)
    for name, asked, own in (("device", device, model.device), ("precision", precision, model.precision)):
        if asked not in ("auto", own, own.removesuffix(":0")):
            raise errors.OptionError(
                f'{name}="{asked}", but the model that was given runs with {name}="{own}": leave {name} out, or '
                f'load the model with se600m.load_model(..., {name}="{asked}")'
            )
    return model

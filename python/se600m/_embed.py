"""The scanpy-shaped functions."""

from __future__ import annotations

import os

from anndata import AnnData

from se600m._model import MIN_COVERAGE, CellSentences, Model, load_model

ModelLike = Model | str | os.PathLike[str] | None


def embed(
    adata: AnnData,
    *,
    model: ModelLike = None,
    key_added: str = "X_state",
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    expression: str = "auto",
    fill: str = "auto",
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    min_coverage: float = MIN_COVERAGE,
    with_dataset_embedding: bool = False,
    progress: bool | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Embed every cell with a State model.

    Parameters
    ----------
    adata
        Cells × genes: raw counts or log1p values, human gene symbols.
    model
        A :class:`Model`, the name of one, a converted directory or a checkpoint (see :func:`load_model`).
    key_added
        Key of ``adata.obsm`` for the embedding.
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
    device, precision
        Where and how exactly to run (see :func:`load_model`).
    batch_size
        Cells a batch. It changes the speed, never the numbers.
    threads
        Threads to use; all cores by default. It changes the speed, never the numbers.
    min_coverage
        Least share of the data set's genes that the model must know, from 0 to 1.
    with_dataset_embedding
        Append the dataset embedding to the embedding, as arc-state stores the two (2058 columns for
        SE-600M), instead of storing it under a key of its own.
    progress
        Show a progress bar; by default in notebooks and terminals.
    copy
        Return a copy with the embedding instead of writing to ``adata``.

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
    chosen = _model(model, device, precision, progress)
    return chosen.embed(
        adata,
        key_added=key_added,
        copy=copy,
        with_dataset_embedding=with_dataset_embedding,
        layer=layer,
        use_raw=use_raw,
        gene_column=gene_column,
        expression=expression,
        fill=fill,
        seed=seed,
        batch_size=batch_size,
        threads=threads,
        min_coverage=min_coverage,
        progress=progress,
    )


def tokenize(
    adata: AnnData,
    *,
    model: ModelLike = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_column: str | None = None,
    expression: str = "auto",
    fill: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    min_coverage: float = MIN_COVERAGE,
) -> CellSentences:
    """Turn every cell into the sentence that :func:`embed` gives to the model.

    The parameters are those of :func:`embed`.
    """
    return _model(model, "auto", "auto", None).tokenize(
        adata,
        layer=layer,
        use_raw=use_raw,
        gene_column=gene_column,
        expression=expression,
        fill=fill,
        seed=seed,
        threads=threads,
        min_coverage=min_coverage,
    )


def _model(model: ModelLike, device: str, precision: str, progress: bool | None) -> Model:
    if isinstance(model, Model):
        return model
    return load_model(model, device=device, precision=precision, progress=progress)

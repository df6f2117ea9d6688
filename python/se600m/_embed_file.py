"""The public functions that work on the cells of a file, into a file."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from se600m import _destination, _files, _inputs, _journal, _options, _outputs, _picture, _run_report, _shards, errors
from se600m._cells import Cells
from se600m._copying import Copy
from se600m._embed import ModelLike
from se600m._embed_collection import Collection
from se600m._embedding import EmbeddedFile, Embedding, result
from se600m._file_run import FileRun, Opening, PathLike, Target, Work
from se600m._inputs import Input
from se600m._opened import Opened
from se600m._options import CellKeywords, Devices, Precision, RunKeywords
from se600m._report import Report
from se600m._resumable import Done, Task


@_options.accepts(RunKeywords)
def embed_file(
    src: PathLike | Iterable[PathLike],
    dst: PathLike | None = None,
    *,
    in_place: bool = False,
    model: ModelLike = None,
    checkpoint: str | None = None,
    protein_embeddings: PathLike | None = None,
    key_added: str = _options.KEY,
    device: Devices = "auto",
    precision: Precision = "auto",
    with_dataset_embedding: bool = False,
    modality: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    shard: str | tuple[int, int] | None = None,
    memory: int | str = _options.MEMORY,
    report: PathLike | None = None,
    scheduler: str | None = None,
    **options: Unpack[RunKeywords],
) -> EmbeddedFile:
    """Embed every cell of a file that need not fit into memory, in a run that can be resumed.

    The matrix of an h5ad or zarr file stays on the disk, and is read some rows at a time, ahead of the computation.
    About once a minute the results are added to the folder ``dst + ".partial"`` and synced to the disk. When all cells
    are done, the output is put together beside ``dst`` and takes its place at once; then the folder goes. The input is
    never written to. Results are the same, bit for bit, whatever the memory and however often a run was resumed.

    Parameters
    ----------
    src
        An h5ad file (matrix in CSR, CSC or dense), or a zarr store of an AnnData, version 2 or 3: a folder or an
        address that fsspec knows, such as ``"s3://bucket/cells.zarr"``. Other files that ``se600m embed`` reads (10x,
        MuData, h5ad files older than anndata 0.7) are loaded into memory. A list of them is one collection (see
        Notes).
    dst
        What is written, by its suffix. ``.h5ad`` and ``.zarr``: a copy of ``src`` with the embedding in ``obsm``, and
        with the model, the options and a summary of the data in ``uns``; all other elements are copied as they are.
        ``.npy``: the embedding alone. ``.parquet``: a table of the names of the cells and the embedding as a column of
        lists (requires the extra ``parquet``).
    in_place
        Write the result into ``src`` instead of ``dst``: a copy of it is completed, and takes its place.
    model, key_added, device, precision, with_dataset_embedding
        See :func:`embed`.
    checkpoint, protein_embeddings
        See :func:`load_model`.
    modality
        Modality of a MuData file; by default the one named rna or gex.
    resume
        Go on with what an earlier run has left, if it has left anything. Input, model, kind of device, precision and
        all options that can change the result must be the same.
    overwrite
        Replace ``dst``, and keys of ``src`` that se600m did not write. Without ``resume``, throw away what an earlier
        run has left.
    shard
        Embed one part of the cells, such as ``"3/16"`` or ``(3, 16)``, into a ``.npz`` file; :func:`merge_shards` joins
        them.
    memory
        Memory for rows and their results, in bytes or as ``"2GB"``, beside that of the model. At least one row is read
        at a time.
    report
        Write how the run went to this file: as JSON (``.json``), or as a web page that works offline (``.html``), with
        a picture of the embedding and the JSON in it.
    scheduler
        Address of a Dask scheduler, such as ``"tcp://10.0.0.1:8786"``, whose workers compute the cells (requires the
        extra ``dask``). They read ``src`` and the model's directory themselves, under the same paths. ``device`` and
        ``precision`` are those of the workers, and those of a host share its GPUs out among them.
    layer, use_raw, gene_column, genes, expression, fill, seed, batch_size, threads, min_coverage, strict, progress
        See :func:`embed`.

    Returns
    -------
    EmbeddedFile
        What was written, and how the run went.

    Raises
    ------
    ResumeError
        What an earlier run has left was made differently. The message names what has changed.
    DestinationExistsError
        ``dst`` exists, or an earlier run has left something, and it is not said what becomes of it.
    ClusterError
        The scheduler does not answer, or its workers failed. What was done is kept.
    DataError
        ``src`` can't be read, or was changed during the run. What was done is kept.
    SE600MError
        As for :func:`embed`.

    Notes
    -----
    Several files are embedded one after the other, each with its own genes and by its own values, so that every cell
    has the embedding that its file alone would give it. All files are opened, and their genes found, before the first
    is embedded. The output has the cells in the order of the list. An h5ad file or a zarr store of a collection has
    the embedding in ``obsm`` and the columns of all ``obs``, but no matrix: :func:`anndata.experimental.concat_on_disk`
    joins those. Whole numbers and truth values that a file lacks are missing (``Int64``, ``boolean``), not float64. The
    column ``source_file`` tells which file a cell is from: its name without the suffix, or the paths as they were given
    if two files would have the same name. If names of cells occur in several files, all cells get the name of their
    file appended, as :func:`anndata.concat` does with ``index_unique="-"``. With ``resume``, files that are done are
    not embedded again.

    Examples
    --------
    >>> adata.write_h5ad("cells.h5ad")
    >>> done = se600m.embed_file("cells.h5ad", "embedded.h5ad", model="se-mini")
    >>> done.n_cells, done.n_columns
    (100, 96)
    """
    chosen = _options.cell_options("embed_file", RunKeywords, options)
    _options.flag("with_dataset_embedding", with_dataset_embedding)
    _destination.check_key(key_added, "obsm")
    if dst is not None and key_added != _options.KEY and Path(dst).suffix == ".npy":
        raise errors.OptionError(
            f"key_added={key_added!r} is the name of an element of obsm, but an .npy file has the embedding alone: "
            "leave it out, or write .h5ad, .zarr or .parquet"
        )
    part = None if shard is None else _shards.parsed(shard)
    opening = Opening(model, device, precision, checkpoint, protein_embeddings)
    common: dict[str, Any] = {
        "modality": modality,
        "resume": resume,
        "overwrite": overwrite,
        "memory": memory,
        "report": report,
        "scheduler": scheduler,
    }
    if not isinstance(src, str | os.PathLike):
        for name, given in (("in_place", in_place), ("shard", part)):
            if given:
                raise errors.OptionError(
                    f"{name}={given if given is True else str(given)!r} is about one file, but several are given: "
                    "leave it out, or embed each file alone"
                )
        return Collection(src, dst, opening, chosen, key_added, with_dataset_embedding, **common)()
    work = Embedding(key_added, with_dataset_embedding, overwrite, part)
    run = FileRun(src, dst, work, opening, chosen, in_place=in_place, shard=part, **common)
    made = run()
    return EmbeddedFile(Path(made["output"]), made["n_cells"], work.n_columns, made)


def merge_shards(
    dst: PathLike,
    shards: Sequence[PathLike],
    *,
    src: PathLike | None = None,
    overwrite: bool = False,
    report: PathLike | None = None,
) -> EmbeddedFile:
    """Join the shards that :func:`embed_file` wrote with ``shard=``.

    The result is the file that one run over all cells writes.

    Parameters
    ----------
    dst
        What is written, by its suffix: see :func:`embed_file`.
    shards
        The ``.npz`` files of all shards, in any order.
    src
        The file that the cells are from, if it is no longer where it was.
    overwrite
        Replace ``dst``, and keys of ``src`` that se600m did not write.
    report
        Write what was joined to this file: see :func:`embed_file`.

    Raises
    ------
    DataError
        A shard is missing, is there twice, or is of another run. The message names it.

    Examples
    --------
    >>> adata.write_h5ad("cells.h5ad")
    >>> for part in ("1/2", "2/2"):
    ...     shard = se600m.embed_file("cells.h5ad", f"{part[0]}.npz", model="se-mini", shard=part)
    >>> done = se600m.merge_shards("embedded.h5ad", ["1.npz", "2.npz"])
    >>> done.n_cells, done.n_columns
    (100, 96)
    """
    began = time.monotonic()
    reported = _run_report.check(report)
    joined = _shards.join([Path(shard).expanduser() for shard in shards])
    source, key = src or joined.source, joined.key
    target = Target(source, dst, _outputs.SUFFIXES, in_place=False, overwrite=overwrite)
    if src is not None and target.suffix == ".npy":
        raise errors.OptionError(
            f"src={os.fspath(src)!r} is of no use for an .npy file, which has the embedding alone: leave it out"
        )
    _outputs.check_key(target.suffix, key)
    made = result(key, joined.arrays(), joined.provenance, [])
    picture = None
    n_cells, n_columns = made.arrays[key].shape
    if target.suffix == ".npy":
        with _files.told(target.named, target.place), _files.appearing(target.place) as draft:
            _outputs.write_npy(draft, made.arrays[key])
    else:
        given = _inputs.read(source)
        try:
            joined.check_source(given)
            if target.suffix != ".parquet":
                dataset = len(made.arrays) > 1
                earlier = given.under(key)
                _destination.check_embedding(earlier, key, dataset=dataset, overwrite=overwrite, copy=False)
                _outputs.check(target.suffix, given)
                made = dataclasses.replace(made, drop=_destination.stale(earlier, key, dataset))
            folder = target.suffix == ".zarr"
            with _files.told(target.named, target.place), _files.appearing(target.place, folder=folder) as draft:
                _outputs.write(draft, target.suffix, given, made)
            if _run_report.is_page(reported):
                picture = _picture.draw(made.arrays[key], given.groups)
        finally:
            given.close()
    run = {
        "input": os.fspath(source),
        "output": str(target.place),
        "n_cells": n_cells,
        "shards": [str(shard) for shard in joined.paths],
        "provenance": joined.provenance,
        "seconds": {"total": time.monotonic() - began},
        "finished": _run_report.now(),
    }
    _run_report.write(reported, run, picture)
    return EmbeddedFile(target.place, n_cells, n_columns, run)


@dataclass(frozen=True)
class TokenizedFile:
    """Cell sentences that were written to a file.

    Attributes
    ----------
    path
        The file that was written.
    n_cells, n_slots
        Shape of the arrays.
    fill
        The fill policy that was used.
    report
        How the run went (see :class:`EmbeddedFile`).
    """

    path: Path
    n_cells: int
    n_slots: int
    fill: str
    report: dict[str, Any]


@_options.accepts(CellKeywords)
def tokenize_file(
    src: PathLike,
    dst: PathLike,
    *,
    model: ModelLike = None,
    checkpoint: str | None = None,
    protein_embeddings: PathLike | None = None,
    modality: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    memory: int | str = _options.MEMORY,
    report: PathLike | None = None,
    **options: Unpack[CellKeywords],
) -> TokenizedFile:
    """Convert every cell of a file that need not fit into memory into the sentence that the model reads.

    The parameters are those of :func:`embed_file`. ``dst`` is an ``.npz`` file with the arrays ``gene_indices``,
    ``expression_values``, ``multiplicity`` and ``lengths`` of :class:`CellSentences`. They are not compressed.

    Returns
    -------
    TokenizedFile
        What was written, and how the run went.

    Examples
    --------
    >>> adata.write_h5ad("cells.h5ad")
    >>> se600m.tokenize_file("cells.h5ad", "sentences.npz", model="se-mini").n_cells
    100
    """
    chosen = _options.cell_options("tokenize_file", CellKeywords, options)
    work = _Tokenizing()
    opening = Opening(model, checkpoint=checkpoint, protein_embeddings=protein_embeddings)
    how: dict[str, Any] = {"modality": modality, "resume": resume, "overwrite": overwrite, "memory": memory}
    made = FileRun(src, dst, work, opening, chosen, report=report, **how)()
    return TokenizedFile(Path(made["output"]), made["n_cells"], work.n_slots, made["provenance"]["fill"], made)


class _Tokenizing(Work):
    """Sentences, as numpy's arrays."""

    suffixes = (".npz",)

    def __init__(self) -> None:
        self.n_slots = 0
        self._columns: Report | None = None

    def check(self, given: Input, suffix: str) -> int:
        return 0

    def bytes_per_row(self, opened: Opened) -> int:
        return 12 * opened.dimensions["pad_length"] + 8

    def task(self, cells: Cells) -> Task:
        self.n_slots = cells.plan()["max_length"]
        slots = (self.n_slots,)
        arrays = {
            "gene_indices": _journal.Array("int32", slots),
            "expression_values": _journal.Array("float32", slots),
            "multiplicity": _journal.Array("float32", slots),
            "lengths": _journal.Array("int32", ()),
            "share": _journal.Array("float32", ()),
        }
        # Go adds up the columns again, which the checks have done.
        self._columns = Report(cells.source.where, cells.n_cells, cells.report.match)
        return Task("tokenize", "Tokenizing", arrays, {"length": self.n_slots, **self._columns.columns})

    def assemble(self, draft: Path, suffix: str, given: Input, cells: Cells, done: Done, copy: Copy | None) -> None:
        names = [name for name in done.journal.arrays if name != "share"]
        _outputs.write_npz(draft, {name: done.journal.rows(name) for name in names})

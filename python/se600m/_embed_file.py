"""The public functions that embed the cells of a file into a file."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from se600m import _destination, _files, _h5ad, _inputs, _journal, _log, _options, _outputs, _progress, _resumable
from se600m import _opened, _shards, errors
from se600m._cells import Cells
from se600m._embed import ModelLike, open_model
from se600m._inputs import Input
from se600m._model import Model
from se600m._options import CellOptions, Devices, Precision, RunKeywords

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class EmbeddedFile:
    """Cells of a file that were embedded into a file.

    Attributes
    ----------
    path
        The file that was written.
    n_cells, n_columns
        Shape of the embedding.
    report
        How the run went: input, output, model, options, what was seen of the cells, warnings, seconds of each step,
        cells per second, peak memory. Text, numbers, lists and dictionaries, as ``--report`` writes them.
    """

    path: Path
    n_cells: int
    n_columns: int
    report: dict[str, Any]


@_options.accepts(RunKeywords)
def embed_file(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    in_place: bool = False,
    model: ModelLike = None,
    checkpoint: str | None = None,
    protein_embeddings: PathLike | None = None,
    key_added: str = "X_state",
    device: Devices = "auto",
    precision: Precision = "auto",
    with_dataset_embedding: bool = False,
    modality: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    shard: str | tuple[int, int] | None = None,
    memory: int | str = _options.MEMORY,
    report: PathLike | None = None,
    **options: Unpack[RunKeywords],
) -> EmbeddedFile:
    """Embed every cell of a file that need not fit into memory, in a run that can be resumed.

    The matrix of an h5ad or zarr file stays on the disk, and is read some rows at a time, ahead of the computation.
    About once a minute the results are added to the folder ``dst + ".partial"``, synced to the disk. When all cells are
    done, the output is put together beside ``dst`` and takes its place at once; then the folder goes. The input is never
    written to. Results are the same, bit for bit, whatever the memory and however often a run was resumed.

    Parameters
    ----------
    src
        An h5ad file (matrix in CSR, CSC or dense), or a zarr store of an AnnData, version 2 or 3: a folder or an address
        that fsspec knows, such as ``"s3://bucket/cells.zarr"``. Other files that ``se600m embed`` reads (10x, MuData,
        h5ad files older than anndata 0.7) are loaded into memory.
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
        Go on with what an earlier run has left, if it has left anything. Input, model and all options that can change
        the result must be the same.
    overwrite
        Replace ``dst``, and keys of ``src`` that se600m did not write. Without ``resume``, throw away what an earlier run
        has left.
    shard
        Embed one part of the cells, such as ``"3/16"`` or ``(3, 16)``, into a ``.npz`` file; :func:`merge_shards` joins
        them.
    memory
        Memory for rows and their results, in bytes or as ``"2GB"``, beside that of the model. At least one row is read
        at a time.
    report
        Write how the run went to this file, as JSON.
    layer, use_raw, gene_column, expression, fill, seed, batch_size, threads, min_coverage, strict, progress
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
    DataError
        ``src`` can't be read, or was changed during the run. What was done is kept.
    SE600MError
        As for :func:`embed`.
    """
    began = time.monotonic()
    chosen = _options.cell_options("embed_file", RunKeywords, options)
    for name, value in (("in_place", in_place), ("resume", resume), ("overwrite", overwrite)):
        _options.flag(name, value)
    _options.flag("with_dataset_embedding", with_dataset_embedding)
    _destination.check_key(key_added, "obsm")
    budget = _resumable.memory_of(memory)
    part = None if shard is None else _shards.parsed(shard)
    if not isinstance(model, Model):
        _opened.check(model, device, precision, checkpoint, protein_embeddings)
    target = _Target(src, dst, in_place, overwrite, resume, part)
    beside = None if report is None else _files.check(Path(report), "report", overwrite=True)
    given = _inputs.read(src, modality)
    try:
        place, suffix = target.place, target.suffix
        adds = suffix in (".h5ad", ".zarr")
        given.check(chosen)
        target.check_space(given.size if adds else 0)
        earlier = given.under(key_added) if adds else None
        if earlier is not None:
            _destination.check_embedding(earlier, key_added, dataset=False, overwrite=overwrite, copy=False)
            _outputs.check(suffix, given)
        files: dict[str, Any] = {"checkpoint": checkpoint, "protein_embeddings": protein_embeddings}
        opened = open_model(model, device, precision, options.get("progress"), **files)._opened
        if with_dataset_embedding and not opened.dataset_dim:
            raise errors.NotInModelError(
                f"with_dataset_embedding=True, but model {opened.name!r} has no dataset embedding: leave it out"
            )
        apart = opened.dataset_dim > 0 and not with_dataset_embedding
        if earlier is not None:
            _destination.check_embedding(earlier, key_added, dataset=apart, overwrite=overwrite, copy=False)
        rows = None if part is None else part.rows(given.n_obs)
        task = _resumable.embed_task(chosen, opened.name, opened.output_dim, opened.dataset_dim)
        per_row = _resumable.bytes_per_row(task)
        # A third for the rows that are worked on, a third for those that are read meanwhile, and one for results.
        cells = Cells(opened, given.expression(chosen, budget // 3, per_row, rows), chosen)
        target.check_space((given.size if adds else 0) + 2 * per_row * cells.n_cells)
        known = _resumable.identity(cells, given, task)
        if (lines := _progress.lines()) is not None:
            lines.note(file=os.fspath(src), chunk=0)
        loaded = time.monotonic()
        with _journal.Journal.open(place, known, cells.n_cells, task.arrays, resume=resume) as journal:
            try:
                done = _resumable.run(cells, given, task, journal, keep_share=part is not None)
                provenance = cells.provenance(done.seen) | {"with_dataset_embedding": with_dataset_embedding}
                computed = time.monotonic()
                with _kept(journal, target):
                    if part is None:
                        result = _result(key_added, journal, apart, provenance)
                        if earlier is not None:
                            left = _destination.stale(earlier, key_added, apart)
                            result = dataclasses.replace(result, drop=left)
                        with _files.appearing(place, folder=suffix == ".zarr") as draft:
                            _outputs.write(draft, suffix, given, result)
                            given.check_unchanged()
                    else:
                        shown = {"source": os.path.abspath(given.place), "key": key_added}
                        with _files.appearing(place) as draft:
                            _shards.write(draft, journal, part, given.n_obs, known, provenance, shown)
                n_chunks = journal.n_chunks
                journal.remove()
            except BaseException as error:
                _resumable.kept_note(error, journal)
                raise
        ended = time.monotonic()
        width = opened.output_dim + (opened.dataset_dim if with_dataset_embedding else 0)
        computed_now = cells.n_cells - done.resumed
        run = {
            "input": os.fspath(src),
            "output": str(place),
            "key": key_added,
            "shape": [cells.n_cells, width],
            "shard": None if part is None else str(part),
            "resumed_from": done.resumed,
            "chunks": n_chunks,
            "memory": budget,
            "gene_column": chosen.gene_column,
            "provenance": {name: _resumable.plain(value) for name, value in provenance.items()},
            "warnings": done.warnings,
            "seconds": {
                "opening": loaded - began,
                "checking": done.checking,
                **dataclasses.asdict(done.timings),
                "assembling": ended - computed,
                "total": ended - began,
            },
            "cells_per_second": computed_now / spent if (spent := computed - loaded - done.checking) > 0 else None,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "python": sys.version.split()[0],
        }
        if beside is not None:
            _write_report(beside, run)
        return EmbeddedFile(place, cells.n_cells, width, run)
    finally:
        given.close()


def merge_shards(
    dst: PathLike,
    shards: list[PathLike] | tuple[PathLike, ...],
    *,
    src: PathLike | None = None,
    overwrite: bool = False,
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

    Raises
    ------
    DataError
        A shard is missing, is there twice, or is of another run. The message names it.
    """
    began = time.monotonic()
    joined = _shards.join([Path(shard).expanduser() for shard in shards])
    target = _Target(src or joined.source, dst, False, overwrite, False, None)
    given = None if target.suffix == ".npy" else _inputs.read(src or joined.source)
    key = joined.key
    adds = target.suffix in (".h5ad", ".zarr")
    drop: list[str] = []
    rows = list(joined.arrays().values())
    if joined.with_dataset:
        named = {key: _resumable.hstacked(rows)}
    else:
        named = dict(zip((key, f"{key}_dataset"), rows, strict=False))
    try:
        if given is not None:
            joined.check_source(given)
        if given is not None and adds:
            earlier = given.under(key)
            _destination.check_embedding(
                earlier, key, dataset=len(named) > 1, overwrite=overwrite, copy=False
            )
            drop = _destination.stale(earlier, key, len(named) > 1)
        widths = [rows.shape[1] for rows in named.values()]
        uns = {key: joined.provenance | _destination.widths_of(widths[0], sum(widths[1:]))}
        result = _outputs.Result(named, uns, drop)
        with _files.told(target.named, target.place), _files.appearing(
            target.place, folder=target.suffix == ".zarr"
        ) as draft:
            if given is None:
                _outputs.write_npy(draft, named[key])
            else:
                _outputs.write(draft, target.suffix, given, result)
    finally:
        if given is not None:
            given.close()
    n, width = len(named[key]), widths[0]
    run = {
        "input": joined.source,
        "output": str(target.place),
        "key": key,
        "shape": [n, width],
        "shards": [str(shard) for shard in joined.paths],
        "provenance": joined.provenance,
        "seconds": {"total": time.monotonic() - began},
    }
    return EmbeddedFile(target.place, n, width, run)


class _Target:
    """The file that is written, looked at before the work starts."""

    def __init__(
        self,
        src: PathLike,
        dst: PathLike | None,
        in_place: bool,
        overwrite: bool,
        resume: bool,
        part: _shards.Shard | None,
    ) -> None:
        self.named = "OUT"
        if (dst is None) != in_place:
            raise errors.OptionError(
                "in_place=True and a second path select two outputs: choose one"
                if in_place
                else "there is no output: give OUT.h5ad, OUT.zarr, OUT.npy or OUT.parquet, or in_place=True"
            )
        if part is not None and in_place:
            raise errors.OptionError("shard and in_place=True exclude each other: a shard is a file of its own")
        if dst is None:
            self.place, self.suffix = self._of_input(os.fspath(src))
        else:
            path = Path(dst).expanduser()
            self.suffix = path.suffix
            self.place = self._checked(path, overwrite, part)
        _resumable.check_found(self.place, resume=resume, overwrite=overwrite)
        if self.suffix == ".parquet":
            _outputs.parquet()

    def _of_input(self, src: str) -> tuple[Path, str]:
        path = Path(os.path.realpath(os.path.expanduser(src)))
        self.named = "IN"
        if _h5ad.is_h5ad(path):
            return _files.check(path, "IN", overwrite=True), ".h5ad"
        if path.is_dir() and ((path / "zarr.json").exists() or (path / ".zgroup").exists()):
            name = "zarr.json" if (path / "zarr.json").exists() else ".zgroup"
            options: dict[str, Any] = {"option": "overwrite=True", "replaceable": name, "kind": "a zarr store"}
            return _files.check_folder(path, "IN", overwrite=True, **options), ".zarr"
        raise errors.OptionError(
            f"in_place=True, but {src!r} is not an h5ad file or a zarr store on this machine: give the path of an output"
        )

    def _checked(self, path: Path, overwrite: bool, part: _shards.Shard | None) -> Path:
        if part is not None:
            return _files.check(path, "OUT", overwrite=overwrite, suffixes=(".npz",))
        if path.suffix != ".zarr":
            return _files.check(path, "OUT", overwrite=overwrite, suffixes=_outputs.SUFFIXES)
        name = ".zgroup" if (path / ".zgroup").exists() else "zarr.json"
        options: dict[str, Any] = {"option": "overwrite=True", "replaceable": name, "kind": "a zarr store"}
        return _files.check_folder(path, "OUT", overwrite=overwrite, **options)

    def check_space(self, n_bytes: int) -> None:
        _files.check_space(self.place, n_bytes, self.named)


@contextmanager
def _kept(journal: _journal.Journal, target: _Target) -> Iterator[None]:
    """Say what is kept if the output can't be put together."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, errors.SE600MError):
            raise
        raise errors.DestinationError(
            f"{target.named} is {str(target.place)!r}, which could not be written: {_files.reason(error)}. "
            + _journal.kept(journal.folder, journal.done, journal.n_rows)
        ) from error


def _result(key: str, journal: _journal.Journal, apart: bool, provenance: Mapping[str, Any]) -> _outputs.Result:
    rows = [journal.rows(name) for name in journal.arrays]
    if apart:
        arrays = {key: rows[0], f"{key}_dataset": rows[1]}
    elif provenance["with_dataset_embedding"]:
        arrays = {key: _resumable.hstacked(rows)}
    else:
        arrays = {key: rows[0]}
    widths = [array.shape[1] for array in arrays.values()]
    return _outputs.Result(arrays, {key: {**provenance, **_destination.widths_of(widths[0], sum(widths[1:]))}})


def _write_report(path: Path, run: dict[str, Any]) -> None:
    with _files.told("report", path), _files.appearing(path) as draft:
        draft.write_text(json.dumps(run, indent=2) + "\n")

"""A run from a file of cells into a file: looked at, checked, worked through, put together, reported."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from se600m import (
    _cluster,
    _files,
    _h5ad,
    _inputs,
    _journal,
    _opened,
    _options,
    _outputs,
    _picture,
    _progress,
    _resumable,
    _run_report,
    _shards,
    _stored,
    _workers,
    errors,
)
from se600m._cells import Cells
from se600m._copying import Copy
from se600m._embed import ModelLike, open_model
from se600m._inputs import Input
from se600m._model import Model
from se600m._options import CellOptions
from se600m._resumable import Done, Task

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Opening:
    """How a model is opened (see :func:`se600m.load_model`)."""

    model: ModelLike
    device: Any = "auto"
    precision: Any = "auto"
    checkpoint: str | None = None
    protein_embeddings: PathLike | None = None

    def check(self) -> None:
        """Make sure that it can be, before files are read."""
        if not isinstance(self.model, Model):
            _opened.check(self.model, self.device, self.precision, self.checkpoint, self.protein_embeddings)

    def for_genes(self) -> Opening:
        """Give what opens the model where it does not run, to find genes: on the CPU, without its weights."""
        _options.devices(self.device)
        _options.check_precision(self.precision)
        return self if isinstance(self.model, Model) else dataclasses.replace(self, device="cpu", precision="auto")

    def asked(self, opened: _opened.Opened) -> tuple[str, str]:
        """Give the device and the precision that are asked for."""
        if isinstance(self.model, Model):
            return opened.device, opened.precision
        return _options.devices(self.device), self.precision

    def open(self, progress: bool | None) -> _opened.Opened:
        """Open it."""
        return self.open_model(progress)._opened

    def open_model(self, progress: bool | None) -> Model:
        """Open it, as users have it."""
        files: dict[str, Any] = {"checkpoint": self.checkpoint, "protein_embeddings": self.protein_embeddings}
        return open_model(self.model, self.device, self.precision, progress, **files)


class Work:
    """What a run makes of cells."""

    suffixes: tuple[str, ...]
    """Outputs that there are."""

    def check(self, given: Input, suffix: str) -> int:
        """Look at the input, before a model is opened; gives about how many bytes of it are copied."""
        raise NotImplementedError

    def bytes_per_row(self, opened: _opened.Opened) -> int:
        """Look at the model; gives the most bytes that the results of a cell have."""
        raise NotImplementedError

    def task(self, cells: Cells) -> Task:
        """Describe the work to the loop over cells."""
        raise NotImplementedError

    def copied_early(self, given: Input, suffix: str) -> Path | None:
        """Give a file of which the output is a copy with more in it: it is copied meanwhile."""
        return None

    def picture(self, given: Input, done: Done) -> _picture.Picture | None:
        """Draw the result for a page about the run, if it can be drawn."""
        return None

    def assemble(self, draft: Path, suffix: str, given: Input, cells: Cells, done: Done, copy: Copy | None) -> None:
        """Write the output."""
        raise NotImplementedError


@dataclass
class FileRun:
    """A run, with the options that all runs have (see :func:`se600m.embed_file`). They are checked when it is made."""

    src: PathLike
    dst: PathLike | None
    work: Work
    opening: Opening
    options: CellOptions
    in_place: bool = False
    modality: str | None = None
    resume: bool = False
    overwrite: bool = False
    shard: _shards.Shard | None = None
    memory: int | str = _options.MEMORY
    report: PathLike | None = None
    scheduler: str | None = None
    part: _journal.Part | None = None
    """What the rows are a part of, if they are no output of their own."""
    _target: Target = field(init=False)
    _budget: int = field(init=False)
    _report: Path | None = field(init=False)
    _here: Opening = field(init=False)
    """How the model is opened in this process."""

    def __post_init__(self) -> None:
        for name in ("in_place", "resume", "overwrite"):
            _options.flag(name, getattr(self, name))
        self._budget = _resumable.memory_of(self.memory)
        self._here = self.opening if self.scheduler is None else self.opening.for_genes()
        self._here.check()
        put = self.resume and _journal.was_put(Path(os.path.realpath(os.path.expanduser(self.dst or self.src))))
        if put and self.in_place:
            raise errors.DestinationExistsError(
                f"{os.fspath(self.src)!r} has the result already: the earlier run was ended while it cleared away its "
                f"rows. Remove {str(_journal.folder_of(Path(self.src)))!r}"
            )
        suffixes = (".npz",) if self.shard is not None else self.work.suffixes
        how: dict[str, Any] = {"in_place": self.in_place, "overwrite": self.overwrite or put}
        shown = None if self.part is None else _journal.destination_of(self.part.whole.folder)
        target = self._target = Target(self.src, self.dst, suffixes, shown=shown, **how)
        _resumable.check_found(target.place, resume=self.resume, overwrite=self.overwrite)
        self._report = _run_report.check(self.report)

    def __call__(self) -> dict[str, Any]:
        """Carry it out; gives a report."""
        with self.rows_kept() as report:
            return report

    @contextmanager
    def rows_kept(self) -> Iterator[dict[str, Any]]:
        """Carry it out; gives a report. The rows are kept until the block has ended without an error.

        So what is done with the output in the block can be done again, by a run that goes on with all of its rows.
        """
        with ExitStack() as stack:
            cluster = None
            if self.scheduler is not None:
                cluster = stack.enter_context(closing(_cluster.Cluster(self.scheduler)))
            given = stack.enter_context(closing(_inputs.read(self.src, self.modality)))
            yield from self._run(given, cluster)

    def _run(self, given: Input, cluster: _cluster.Cluster | None) -> Iterator[dict[str, Any]]:
        began = time.monotonic()
        target, options = self._target, self.options
        given.check(options)
        n_copied = self.work.check(given, target.suffix)
        target.check_space(n_copied)
        opened = self._here.open(options.progress)
        asked = self.opening.asked(opened)
        if cluster is not None:
            opened = cluster.chosen(opened, *asked)
        per_row = self.work.bytes_per_row(opened)
        rows = None if self.shard is None else self.shard.rows(given.n_obs)
        # A third for the rows that are worked on, a third for those that are read meanwhile, and one for results.
        cells = Cells(opened, given.expression(options, self._budget // 3, per_row, rows), options)
        task = self.work.task(cells)
        # Rows are on the disk twice in the end; those of an earlier run are there.
        goes_on = self.resume and _journal.folder_of(target.place).exists()
        target.check_space(n_copied + (1 if goes_on else 2) * task.bytes_per_row * cells.n_cells)
        known = _resumable.identity(cells, given, task)
        if (lines := _progress.lines()) is not None:
            lines.note(file=os.fspath(self.src), chunk=0)
        elsewhere = None if cluster is None else self._on(cluster, cells, given, task, known, rows, asked[0])
        loaded = time.monotonic()
        kept: dict[str, Any] = {"resume": self.resume, "part": self.part}
        with _journal.Journal.open(target.place, known, cells.n_cells, task.arrays, **kept) as journal:
            try:
                with self._copy(given, journal) as copy:

                    def check() -> None:
                        if copy is not None:
                            with self._kept(journal):
                                copy.check()

                    share = self.shard is not None
                    done = _resumable.run(cells, given, task, journal, check, keep_share=share, elsewhere=elsewhere)
                    computed = time.monotonic()
                    folder = target.suffix == ".zarr"
                    with self._kept(journal), _files.appearing(target.place, folder=folder) as draft:
                        self.work.assemble(draft, target.suffix, given, cells, done, copy)
                        given.check_unchanged()
                        journal.note_output(draft)
                    with self._kept(journal):
                        _files.sync(target.place)
                    ended = time.monotonic()
                    picture = self.work.picture(given, done) if _run_report.is_page(self._report) else None
                spent = computed - loaded - done.checking
                report = {
                    "input": os.fspath(self.src),
                    "output": str(target.place),
                    "n_cells": cells.n_cells,
                    "shard": None if self.shard is None else str(self.shard),
                    "resumed_from": done.resumed,
                    "chunks": journal.n_chunks,
                    "memory": self._budget,
                    "provenance": {
                        name: _resumable.plain(value) for name, value in cells.provenance(done.seen).items()
                    },
                    "warnings": done.warnings,
                    "seconds": {
                        "opening": loaded - began,
                        "checking": done.checking,
                        **dataclasses.asdict(done.timings),
                        "assembling": ended - computed,
                        "total": ended - began,
                    },
                    "cells_per_second": (cells.n_cells - done.resumed) / spent if spent > 0 else None,
                    "peak_memory_bytes": peak(),
                    "finished": _run_report.now(),
                    "python": sys.version.split()[0],
                }
                yield report
            except BaseException as error:
                _journal.kept_note(error, journal)
                raise
            journal.remove()
        _run_report.write(self._report, report, picture)

    def _on(
        self,
        cluster: _cluster.Cluster,
        cells: Cells,
        given: Input,
        task: Task,
        identity: dict[str, Any],
        rows: tuple[int, int] | None,
        asked: str,
    ) -> Any:
        """Have a cluster compute the rows."""
        opened = cells.opened
        device = opened.device if asked == "auto" else asked
        model = _workers.WorkerModel(opened.directory, device, opened.precision, opened.checksum, asked == "auto")
        place = given.place if _stored.is_address(given.place) else os.path.abspath(given.place)
        options = dataclasses.replace(self.options, progress=False)
        part = _cluster.Part(place, self.modality, model, options, self._budget, task, identity, rows)
        return lambda first, pace, store: cluster.run(part, cells, first, pace, store)

    def _copy(self, given: Input, journal: _journal.Journal) -> AbstractContextManager[Copy | None]:
        source = self.work.copied_early(given, self._target.suffix)
        return nullcontext() if source is None else Copy(source, journal.folder / "copy")

    @contextmanager
    def _kept(self, journal: _journal.Journal) -> Iterator[None]:
        """Say what is kept if the output can't be put together."""
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, errors.SE600MError):
                raise
            target = self._target
            raise errors.DestinationError(
                f"{target.named} is {str(target.shown)!r}, which could not be written: {_files.reason(error)}. "
                + journal.kept()
            ) from error


def peak() -> int | None:
    """Most memory that this process has had, in bytes; what ``resource`` says includes the process that started it."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return None


class Target:
    """The file that is written, looked at before the work starts.

    Attributes
    ----------
    place, suffix
        Where it is, and the kind of file.
    named, shown
        Name of it in messages, and the path that they show: that of the output of which this file is a part.
    """

    def __init__(
        self,
        src: PathLike,
        dst: PathLike | None,
        suffixes: tuple[str, ...],
        *,
        in_place: bool,
        overwrite: bool,
        shown: Path | None = None,
    ) -> None:
        self.named = "OUT"
        if (dst is None) != in_place:
            listed = ", ".join(f"OUT{suffix}" for suffix in suffixes)
            raise errors.OptionError(
                "in_place=True and a second path select two outputs: choose one"
                if in_place
                else f"there is no output: give {listed}, or in_place=True"
            )
        if dst is None:
            if suffixes != _outputs.SUFFIXES:
                raise errors.OptionError("shard=... and in_place=True exclude each other: a shard is a file of its own")
            self.place, self.suffix = self._of_input(os.fspath(src))
        else:
            path = Path(dst).expanduser()
            self.place, self.suffix = self._checked(path, overwrite, suffixes), path.suffix
        self.shown = shown or self.place
        if self.suffix == ".parquet":
            _outputs.parquet()

    def _of_input(self, src: str) -> tuple[Path, str]:
        path = Path(os.path.realpath(os.path.expanduser(src)))
        self.named = "IN"
        if _h5ad.is_h5ad(path):
            return _files.check(path, "IN", overwrite=True), ".h5ad"
        if path.is_dir() and ((path / "zarr.json").exists() or (path / ".zgroup").exists()):
            return self._zarr(path, overwrite=True), ".zarr"
        raise errors.OptionError(
            f"in_place=True, but {src!r} is not an h5ad file or a zarr store on this machine: give an output"
        )

    def _checked(self, path: Path, overwrite: bool, suffixes: tuple[str, ...]) -> Path:
        if path.suffix == ".zarr" and ".zarr" in suffixes:
            return self._zarr(path, overwrite=overwrite)
        return _files.check(path, "OUT", overwrite=overwrite, option="overwrite=True", suffixes=suffixes)

    def _zarr(self, path: Path, *, overwrite: bool) -> Path:
        name = ".zgroup" if (path / ".zgroup").exists() else "zarr.json"
        options: dict[str, Any] = {"option": "overwrite=True", "replaceable": name, "kind": "a zarr store"}
        return _files.check_folder(path, self.named, overwrite=overwrite, **options)

    def check_space(self, n_bytes: int) -> None:
        """Make sure that there is room for about as many bytes."""
        _files.check_space(self.shown, n_bytes, self.named)

"""Several files of cells as one collection: each is embedded by a run of its own, then their rows are joined."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from se600m import (
    _cells,
    _cluster,
    _files,
    _h5ad,
    _inputs,
    _joined_obs,
    _journal,
    _opened,
    _options,
    _outputs,
    _picture,
    _resumable,
    _run_report,
    _shards,
    _stored,
    errors,
)
from se600m._cells import Cells
from se600m._embedding import EmbeddedFile, Embedding, result
from se600m._file_run import FileRun, Opening, PathLike, Target, peak
from se600m._joined_obs import LABEL
from se600m._model import Model
from se600m._options import CellOptions
from se600m._report import COUNTED
from se600m._row_file import Stacked
from se600m._words import many

_WHOLE = _shards.Shard(1, 1)
_ROWS = {"n_cells": _journal.Array("int64", ())}
"""The journal of a collection has a row for each file that is done."""


@dataclass(frozen=True)
class _Member:
    """A file of a collection, as it is before it is embedded."""

    place: str
    n_cells: int
    fill: str
    identity: dict[str, Any]
    obs: pd.DataFrame | None
    """What the output has of its table of cells: names alone, or columns, too."""


@dataclass
class Collection:
    """A run over several files, with the options of :func:`se600m.embed_file`. They are checked when it is made."""

    sources: Iterable[PathLike]
    dst: PathLike | None
    opening: Opening
    options: CellOptions
    key: str
    with_dataset: bool
    modality: str | None = None
    resume: bool = False
    overwrite: bool = False
    memory: int | str = _options.MEMORY
    report: PathLike | None = None
    scheduler: str | None = None
    _places: list[str] = field(init=False)
    _budget: int = field(init=False)
    _here: Opening = field(init=False)
    """How the model is opened in this process."""
    _target: Target = field(init=False)
    _report: Path | None = field(init=False)

    def __post_init__(self) -> None:
        for name in ("resume", "overwrite"):
            _options.flag(name, getattr(self, name))
        self._budget = _resumable.memory_of(self.memory)
        self._places = _checked(self.sources)
        self._here = self.opening if self.scheduler is None else self.opening.for_genes()
        self._here.check()
        if self.dst is None:
            raise errors.OptionError("there is no output: give dst, such as 'embedded.h5ad' or 'embedded.npy'")
        place = Path(os.path.realpath(os.path.expanduser(self.dst)))
        for source in self._places:
            _files.check_other_than(source, self.dst, "one of the files to embed", "its matrix")
        put = self.resume and _journal.was_put(place)
        self._target = Target("", self.dst, _outputs.SUFFIXES, in_place=False, overwrite=self.overwrite or put)
        _outputs.check_key(self._target.suffix, self.key, [LABEL])
        _resumable.check_found(self._target.place, resume=self.resume, overwrite=self.overwrite)
        self._report = _run_report.check(self.report)

    def __call__(self) -> EmbeddedFile:
        """Embed all files, and join the rows."""
        began = time.monotonic()
        model = self._here.open_model(self.options.progress)
        opening, opened = self._opening(model), self._running(model)
        work = Embedding(self.key, self.with_dataset, False, _WHOLE)
        per_row = work.bytes_per_row(opened)
        members = [self._look(place, opened, work, per_row) for place in self._places]
        _cells.check_fill([(repr(member.place), member.fill) for member in members])
        whole = self._joined_obs(members)
        n_cells = sum(member.n_cells for member in members)
        # Rows are on the disk twice in the end, and those of one file are so on the way.
        self._target.check_space((2 * n_cells + max(member.n_cells for member in members)) * per_row)
        identity = {
            "the command": "embed several files",
            "the files": [member.place for member in members],
            "the key": self.key,
            "with_dataset_embedding": self.with_dataset,
        }
        looked = time.monotonic()
        with self._kept(identity, len(members)) as journal:
            shards = []
            for i, member in enumerate(members):
                part = journal.folder / f"{i + 1:05}.npz"
                fresh = i >= journal.done
                if fresh:
                    self._embed(member, part, opening, f" file {i + 1} of {len(members)}", journal)
                shards.append(_rows_of(member, part, journal, fresh=fresh))
                if fresh:
                    journal.append({"n_cells": np.array([member.n_cells])})
            provenance = _together(members, shards) | {"with_dataset_embedding": self.with_dataset}
            arrays = {name: Stacked([shard.arrays[name] for shard in shards]) for name in shards[0].names}
            made = result(self.key, arrays, provenance, [])
            if self._target.suffix == ".parquet":
                made = dataclasses.replace(made, labels={LABEL: whole.in_memory.obs[LABEL].to_numpy(object)})
            computed = time.monotonic()
            self._write(made, whole, journal)
            ended = time.monotonic()
            reports = [json.loads(shard.path.with_suffix(".json").read_text()) for shard in shards]
            picture = None
            if _run_report.is_page(self._report):
                picture = _picture.draw(made.arrays[self.key], whole.groups)
            journal.remove()
        seconds = {name: sum(one["seconds"][name] for one in reports) for name in reports[0]["seconds"]}
        seconds |= {"opening": seconds["opening"] + looked - began, "assembling": ended - computed}
        others = f" and {many(len(members) - 1, 'other file')}" if members[1:] else ""
        report = {
            "input": f"{self._places[0]}{others}",
            "output": str(self._target.place),
            "n_cells": n_cells,
            "memory": self._budget,
            "provenance": {name: value for name, value in provenance.items() if name != "files"},
            "warnings": [f"{one['input']}: {warning}" for one in reports for warning in one["warnings"]],
            "seconds": seconds | {"total": sum(seconds.values()) - seconds["total"] - seconds["reading"]},
            "cells_per_second": n_cells / spent if (spent := seconds["computing"] + seconds["waiting"]) > 0 else None,
            "peak_memory_bytes": peak(),
            "files": reports,
            "finished": _run_report.now(),
        }
        _run_report.write(self._report, report, picture)
        return EmbeddedFile(self._target.place, n_cells, work.n_columns, report)

    def _opening(self, model: Model) -> Opening:
        """Give what opens the model for each file: the one that is open, or for a cluster its directory."""
        if self.scheduler is None or isinstance(self.opening.model, Model):
            return Opening(model)
        return Opening(model._opened.directory, self.opening.device, self.opening.precision)

    def _running(self, model: Model) -> _opened.Opened:
        """Describe the model as it runs, here or on the workers of a cluster: results depend on it."""
        if self.scheduler is None:
            return model._opened
        with closing(_cluster.Cluster(self.scheduler)) as cluster:
            return cluster.chosen(model._opened, *self.opening.asked(model._opened))

    # -- before --------------------------------------------------------------------------------

    def _look(self, place: str, opened: _opened.Opened, work: Embedding, per_row: int) -> _Member:
        """Look at a file as far as can be done without computing."""
        with _named(place), closing(_inputs.read(place, self.modality)) as given:
            given.check(self.options)
            cells = Cells(opened, given.expression(self.options, self._budget // 3, per_row), self.options)
            identity = _resumable.identity(cells, given, work.task(cells))
            identity = {name: value for name, value in identity.items() if name != "the rows"}
            return _Member(place, given.n_obs, cells.plan()["fill"], identity, self._obs_of(given))

    def _obs_of(self, given: _inputs.Input) -> pd.DataFrame | None:
        """Read of the table of cells what the output has, or the page about the run: None, names, or columns, too."""
        columns = self._target.suffix in (".h5ad", ".zarr") or _run_report.is_page(self._report)
        if not columns and self._target.suffix != ".parquet":
            return None
        obs = given.obs() if columns else pd.DataFrame(index=range(given.n_obs))
        if LABEL in obs:
            raise errors.DataError(
                f"obs has a column {LABEL!r} already, which tells the file of each cell in a collection: rename it"
            )
        return obs.set_axis([str(name) for name in given.obs_names[:]])

    def _joined_obs(self, members: Sequence[_Member]) -> _inputs.Input:
        """Join the tables of cells, as far as the output has them."""
        tables = [member.obs for member in members if member.obs is not None]
        if not tables:
            return _inputs.Input("", None, AnnData(shape=(sum(member.n_cells for member in members), 0)))
        joined = _joined_obs.joined([member.place for member in members], tables)
        if self._target.suffix in (".h5ad", ".zarr"):
            _h5ad.check_writable(joined)
        return _inputs.Input("", None, joined)

    # -- the run -------------------------------------------------------------------------------

    @contextmanager
    def _kept(self, identity: Mapping[str, Any], n_files: int) -> Iterator[_journal.Journal]:
        """Open what is kept of the collection; after an error it stays, if there is anything in it."""
        how: dict[str, Any] = {"resume": self.resume, "unit": "file"}
        journal = _journal.Journal.open(self._target.place, identity, n_files, _ROWS, **how)
        try:
            yield journal
        except BaseException as error:
            if not isinstance(error, errors.ResumeError):
                _journal.kept_note(error, journal)
            if journal.done or any(journal.folder.glob("*.partial")):
                journal.close()
            else:
                journal.remove()
            raise

    def _embed(self, member: _Member, part: Path, opening: Opening, which: str, journal: _journal.Journal) -> None:
        work = Embedding(self.key, self.with_dataset, False, _WHOLE, which)
        how: dict[str, Any] = {
            "modality": self.modality,
            "resume": True,
            "overwrite": True,  # a part that was written, but is not in the journal yet
            "shard": _WHOLE,
            "memory": self.memory,
            "report": part.with_suffix(".json"),
            "scheduler": self.scheduler,
            "part": _journal.Part(journal, member.place),
        }
        with _named(member.place):
            FileRun(member.place, part, work, opening, self.options, **how)()

    def _write(self, made: _outputs.Result, whole: _inputs.Input, journal: _journal.Journal) -> None:
        target = self._target
        folder = target.suffix == ".zarr"
        with _files.told(target.named, target.place), _files.appearing(target.place, folder=folder) as draft:
            _outputs.write(draft, target.suffix, whole, made)
            journal.note_output(draft)
        _files.sync(target.place)


def _checked(sources: Iterable[PathLike]) -> list[str]:
    """Make sure that there are files in an order, and none twice."""
    if isinstance(sources, bytes | Mapping) or not isinstance(sources, Iterable):
        raise errors.OptionError(f"src={sources!r} is neither a path nor a list of paths")
    _options.check_ordered("src", sources)
    places = []
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            raise errors.OptionError(f"src has {source!r} among its files, which is not a path")
        places.append(os.fspath(source))
    if not places:
        raise errors.OptionError("src is an empty list: give the files to embed")
    real = [place if _stored.is_address(place) else os.path.realpath(os.path.expanduser(place)) for place in places]
    twice = [place for place, n in Counter(real).items() if n > 1]
    if twice:
        raise errors.DataError(f"{places[real.index(twice[0])]!r} is there twice: give each file once")
    return places


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Have errors name the file that they are about."""
    try:
        yield
    except errors.SE600MError as error:
        if repr(place) in str(error):
            raise
        named = type(error)(f"{place!r}: {error}")
        for note in getattr(error, "__notes__", []):
            named.add_note(note)
        raise named from error


def _rows_of(member: _Member, part: Path, journal: _journal.Journal, *, fresh: bool) -> _shards.Member:
    """Open the rows of a file, and make sure that they are of the file that was looked at, whose obs the output has."""
    try:
        shard = _shards.Member(part)
    except errors.DataError as error:
        raise journal.of_no_use(f"the rows of {member.place!r} are missing or damaged") from error
    then = {name: shard.record["identity"].get(name) for name in member.identity}
    if fresh and then != member.identity:
        changed = [name for name, value in member.identity.items() if then[name] != value]
        raise errors.DataError(
            f"{member.place!r} was changed during the run ({', '.join(changed)}): start again with overwrite=True, or "
            "go on with resume=True, which embeds it as it is now"
        )
    with _named(member.place):
        _journal.compare(journal.folder, then, member.identity)
    return shard


def _together(members: Sequence[_Member], shards: Sequence[_shards.Member]) -> dict[str, Any]:
    """Describe all cells: what is the same for all files, sums of what is counted, and a table of the rest."""
    records = [shard.record["provenance"] for shard in shards]
    same = {name: value for name, value in records[0].items() if all(record[name] == value for record in records)}
    return {
        **same,
        **_shards.together(shards),
        "files": {
            "path": np.array([member.place for member in members], object),
            "n_cells": np.array([member.n_cells for member in members]),
            **{
                name: _column([record[name] for record in records])
                for name in records[0]
                if name not in same and name not in COUNTED
            },
        },
    }


def _column(values: list[Any]) -> npt.NDArray[Any]:
    """Give values as an array that can be written: numbers, or text."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array(["" if value is None else str(value) for value in values], object)

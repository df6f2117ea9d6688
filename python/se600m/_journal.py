"""Rows that are kept while a long job runs, so that it can go on after whatever ended it.

A job that writes ``OUT`` keeps its rows in the folder ``OUT.partial``: one plain file per array, without a header, and
a journal of one JSON object per line. Rows are written, then the files are synced, then a line of the journal is
written and synced: a chunk that the journal names is on the disk, whatever happens to the process or the machine. A
last line that was cut off is not counted.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from se600m import _files, errors
from se600m._row_file import RowFile
from se600m._words import many

_FORMAT = 1
_JOURNAL, _SUFFIX = "journal.jsonl", ".partial"
_AT_ONCE = 64 << 20
"""Bytes that are read back at once."""


@dataclass(frozen=True)
class Array:
    """An array of results: the type of its values, and the shape of a row."""

    dtype: str
    row: tuple[int, ...]

    @property
    def bytes_per_row(self) -> int:
        """Bytes of a row."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.row, dtype=np.int64))


@dataclass(frozen=True)
class Part:
    """What the rows of a journal are a part of, where several make one output."""

    whole: Journal
    """The journal of all of them, which has a row for each part that is done."""
    name: str
    """What the rows are of, as the user gave it."""


def folder_of(destination: Path) -> Path:
    """Where the rows of a job that writes a file are kept."""
    return destination.with_name(f"{destination.name}{_SUFFIX}")


def destination_of(folder: Path) -> Path:
    """Give the file that a job writes whose rows are kept in a folder."""
    return folder.with_name(folder.name.removesuffix(_SUFFIX))


def was_put(destination: Path) -> bool:
    """Whether a destination is the output of the run whose rows are kept beside it: it ended before they were gone."""
    try:
        notes = [line["note"] for _, line in _lines_of(folder_of(destination) / _JOURNAL) if "note" in line]
        return any(note.get("put") == _mark(destination) for note in notes)
    except OSError:
        return False


def _mark(path: Path) -> list[int]:
    """Tell a file or folder from all others, under any name."""
    status = path.stat()
    return [status.st_ino, status.st_mtime_ns]


class Journal:
    """The rows that are done of a job, on the disk, opened by :meth:`open`.

    Attributes
    ----------
    folder
        Where they are.
    n_rows, arrays
        Number of rows when all are done, and the arrays.
    done
        Number of rows that are done: these are the first ones.
    n_chunks
        Number of chunks that they were written in.
    identity
        What they depend on.
    notes
        What was noted beside them (see :meth:`note`).
    """

    def __init__(
        self, folder: Path, lock: int, n_rows: int, arrays: Mapping[str, Array], unit: str, part: Part | None
    ) -> None:
        self.folder, self._lock, self.n_rows, self.arrays = folder, lock, n_rows, dict(arrays)
        self._unit, self._part = unit, part
        self.done = self.n_chunks = 0
        self.identity: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self._files: dict[str, int] = {}

    # -- opening -------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        destination: Path,
        identity: Mapping[str, Any],
        n_rows: int,
        arrays: Mapping[str, Array],
        *,
        resume: bool = False,
        unit: str = "row",
        part: Part | None = None,
    ) -> Journal:
        """Begin a journal, or go on after the last chunk of the one that is there that is whole.

        Parameters
        ----------
        destination
            The file that the job writes.
        identity
            What the rows depend on, by the names under which a difference is reported: text and numbers.
        n_rows, arrays
            Number of rows when all are done, and the arrays, by name.
        resume
            Go on, if there is something to go on with; otherwise it is thrown away.
        unit
            What a row is called in messages.
        part
            What the rows are a part of. Messages name the folder of the whole, which is what the user knows.

        Raises
        ------
        ResumeError
            What is there is of another input, model, or option: the message names what changed. Or it is damaged.
        DestinationError
            It can't be written, or another process works on it.
        """
        folder = folder_of(destination)
        with _written(folder if part is None else part.whole.folder, lambda: ""):
            folder.mkdir(parents=True, exist_ok=True)
            journal = cls(folder, _locked(folder), n_rows, arrays, unit, part)
            journal.identity = dict(identity)
            lines = _lines_of(folder / _JOURNAL) if resume else []
            try:
                if lines:
                    journal._read(lines, identity)
                else:  # nothing was there, or was killed before it had begun
                    journal._create(identity)
            except BaseException:
                if lines:
                    journal.close()
                else:
                    journal.remove()
                raise
        return journal

    def _create(self, identity: Mapping[str, Any]) -> None:
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._open_files(os.O_CREAT | os.O_TRUNC)
        self._line({"format": _FORMAT, "identity": dict(identity), "n_rows": self.n_rows, "arrays": self._described()})
        for folder in (self.folder, self.folder.parent):
            _files.sync_folder(folder)

    def _described(self) -> dict[str, Any]:
        return {name: [array.dtype, list(array.row)] for name, array in self.arrays.items()}

    def _open_files(self, flags: int) -> None:
        for name in (_JOURNAL, *self.arrays):
            path = self.folder / name
            self._files[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o666)

    def _read(self, lines: list[tuple[int, dict[str, Any]]], identity: Mapping[str, Any]) -> None:
        end, head = lines[0]
        if head.get("format") != _FORMAT or not isinstance(head.get("identity"), dict):
            raise self.of_no_use("it was written by another version of se600m")
        compare(self._named, head["identity"], identity)
        if head.get("n_rows") != self.n_rows or head.get("arrays") != self._described():
            raise self.of_no_use("its arrays have other shapes")
        try:
            self._open_files(0)
        except FileNotFoundError as error:
            raise self.of_no_use(f"{Path(error.filename).name!r} is missing") from error
        for after, line in lines[1:]:
            if "note" in line:
                self.notes |= line["note"]
            elif self._is_whole(line):
                self.done, self.n_chunks = line["last"], self.n_chunks + 1
            else:
                break
            end = after
        os.ftruncate(self._files[_JOURNAL], end)  # the next line must not be appended to half a line

    def _is_whole(self, line: Mapping[str, Any]) -> bool:
        """Whether the rows of a chunk are those that were written: the disk may have lost them."""
        first, last, crc = line.get("first"), line.get("last"), line.get("crc", {})
        if first != self.done or not isinstance(last, int) or not first < last <= self.n_rows:
            return False
        return all(self._crc(name, first, last) == crc.get(name) for name in self.arrays)

    @property
    def _named(self) -> Path:
        """The folder that messages name."""
        return self.folder if self._part is None else self._part.whole.folder

    def kept(self) -> str:
        """Say what is kept, of the whole that this is a part of, too, and how to go on; "" if nothing is."""
        of = "" if self._part is None else f" of {self._part.name!r}"
        counts = [] if self._part is None else self._part.whole._count()
        counts += [f"{count}{of}" for count in self._count()]
        return f"{' and '.join(counts)} are kept in {str(self._named)!r}: go on with resume=True" if counts else ""

    def _count(self) -> list[str]:
        return [f"{self.done:,} of {many(self.n_rows, self._unit)}"] if self.done else []

    def of_no_use(self, why: str) -> errors.ResumeError:
        """Give the error that says why it can't be gone on with."""
        return errors.ResumeError(
            f"{str(self._named)!r} can't be resumed: {why}. Start again with overwrite=True, which throws it away"
        )

    # -- rows ----------------------------------------------------------------------------------

    def append(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the next rows of every array; when this returns, they last.

        Raises
        ------
        DestinationError
            They could not be written. What was written before stays.
        """
        (n,) = {len(rows) for rows in values.values()}
        first, last = self.done, self.done + n
        crc = {}
        with _written(self._named, self.kept):
            for name, rows in values.items():
                view = memoryview(np.ascontiguousarray(rows).data).cast("B")
                _write_at(self._files[name], view, first * self.arrays[name].bytes_per_row)
                crc[name] = zlib.crc32(view)
            for name in values:
                os.fdatasync(self._files[name])
            self._line({"first": first, "last": last, "crc": crc})
        self.done, self.n_chunks = last, self.n_chunks + 1

    def note(self, **what: Any) -> None:
        """Keep something beside the rows, such as what was seen when the cells were checked."""
        with _written(self._named, self.kept):
            self._line({"note": what})
        self.notes |= what

    def note_output(self, draft: Path) -> None:
        """Keep what tells the output from other files, before it takes its place."""
        self.note(put=_mark(draft))

    def _line(self, what: Mapping[str, Any]) -> None:
        file = self._files[_JOURNAL]
        _write_at(file, memoryview(json.dumps(what).encode() + b"\n"), os.fstat(file).st_size)
        os.fdatasync(file)

    def rows(self, name: str) -> RowFile:
        """Give an array, of which all rows are done."""
        array = self.arrays[name]
        return RowFile(self.folder / name, array.dtype, (self.n_rows, *array.row))

    def _crc(self, name: str, first: int, last: int) -> int:
        """Compute the checksum of some rows on the disk, of which a system reads 2 GB at once at most."""
        size, crc = self.arrays[name].bytes_per_row, 0
        for begin in range(first * size, last * size, _AT_ONCE):
            crc = zlib.crc32(os.pread(self._files[name], min(_AT_ONCE, last * size - begin), begin), crc)
        return crc

    # -- end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the files. What is done stays."""
        for file in (*self._files.values(), self._lock):
            with suppress(OSError):
                os.close(file)
        self._files, self._lock = {}, -1

    def remove(self) -> None:
        """Throw it away."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        """Give the journal itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close it. If no row is done, nothing is worth keeping."""
        if self.done:
            self.close()
        else:
            self.remove()


def _locked(folder: Path) -> int:
    """Lock a folder against other processes, until this one ends, however it ends."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise errors.DestinationError(
            f"another process works on {str(folder)!r}: wait until it has finished, or choose another destination"
        ) from None
    except OSError:  # a file system without locks gives none to others either
        pass
    return lock


def _write_at(file: int, values: memoryview, offset: int) -> None:
    while values:
        n = os.pwrite(file, values[: 1 << 30], offset)
        values, offset = values[n:], offset + n


def _lines_of(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the lines that are whole, each with the position after it."""
    lines: list[tuple[int, dict[str, Any]]] = []
    end = 0
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            end += len(line)
            try:
                if not line.endswith(b"\n"):
                    break
                lines.append((end, dict(json.loads(line))))
            except (ValueError, TypeError):
                break
    return lines


def compare(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Make sure that rows depend on the same now as when they were made.

    Raises
    ------
    ResumeError
        With what differs.
    """
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    if not changed:
        return
    listed = "; ".join(f"{name} was {_shown(then.get(name))} and is {_shown(now.get(name))}" for name in changed)
    raise errors.ResumeError(
        f"{str(folder)!r} can't be resumed, because its rows were made differently: {listed}. Resume with what they "
        "were made with, or start again with overwrite=True, which throws them away"
    )


def _shown(value: Any) -> str:
    return "none" if value in (None, "") else repr(value)


@contextmanager
def _written(folder: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn what the system refuses into an error that says what is kept, and how to go on."""
    try:
        yield
    except errors.SE600MError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = f". {said}" if (said := kept()) else " (free some space, or choose another disk)" if full else ""
        raise errors.DestinationError(f"{str(folder)!r} can't be written: {_files.reason(error)}{way}") from error


def kept_note(error: BaseException, journal: Journal) -> None:
    """Have an error say what is kept, and how to go on, unless it says so."""
    said = "\n".join([str(error), *getattr(error, "__notes__", [])])
    if "resume=True" not in said and (kept := journal.kept()):
        error.add_note(kept)

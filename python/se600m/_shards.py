"""Shards: a part of the rows of a run, in a file of its own, and how they are joined.

A shard is an ``.npz`` file as numpy reads it, not compressed, so that its arrays can be mapped: ``embedding``,
``dataset_embedding`` if the model has one, ``share`` (each cell's share of expression in known genes), and ``record``,
a JSON text about the run and the rows.
"""

from __future__ import annotations

import itertools
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from se600m import _files, _journal, _outputs, _report, _resumable, errors
from se600m._inputs import Input
from se600m._row_file import RowFile, Stacked
from se600m._words import many


@dataclass(frozen=True)
class Shard:
    """One of several parts of the rows, counted from 1."""

    number: int
    of: int

    def rows(self, n: int) -> tuple[int, int]:
        """Give the first row, and the one after the last. Parts differ by one row at most."""
        if self.of > n:
            raise errors.OptionError(f"shard={str(self)!r}, but there are only {many(n, 'cell')}: use fewer shards")
        return n * (self.number - 1) // self.of, n * self.number // self.of

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def parsed(shard: Any) -> Shard:
    """Read a shard: ``"3/16"`` or ``(3, 16)``."""
    number = of = 0
    if isinstance(shard, str):
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", shard)
        number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    elif isinstance(shard, Sequence) and len(shard) == 2 and all(isinstance(n, int) for n in shard):
        number, of = shard
    if not 1 <= number <= of:
        raise errors.OptionError(f"shard={shard!r} is not a part such as '3/16', from '1/16' to '16/16'")
    return Shard(number, of)


def write(
    draft: Path,
    journal: _journal.Journal,
    shard: Shard,
    n_cells: int,
    provenance: Mapping[str, Any],
    shown: Mapping[str, Any],
) -> None:
    """Write a shard.

    Parameters
    ----------
    journal
        Has the rows.
    n_cells
        Number of cells of all shards.
    provenance
        What the rows are made with, and what was seen of the cells.
    shown
        What else is needed to join shards: ``source`` and ``key``.
    """
    record = {
        "shard": [shard.number, shard.of],
        "rows": list(shard.rows(n_cells)),
        "n_cells": n_cells,
        "identity": {name: value for name, value in journal.identity.items() if name != "the rows"},
        "provenance": {name: _resumable.plain(value) for name, value in provenance.items()},
        **shown,
    }
    arrays: dict[str, Any] = {name: journal.rows(name) for name in journal.arrays}
    arrays["share"] = np.load(journal.folder / _resumable.SHARE)
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    _outputs.write_npz(draft, arrays)


class Member:
    """A shard's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as file:
                self.record: dict[str, Any] = json.loads(file["record"].tobytes())
                self.share: npt.NDArray[np.float32] = file["share"]
                self.names = [name for name in file.files if name not in ("record", "share")]
            self.arrays = {name: _rows_of(path, name) for name in self.names}
            self.number, self.of = self.record["shard"]
            self.first, self.last = self.record["rows"]
            self.shared()
        except FileNotFoundError:
            raise errors.DataError(f"{str(path)!r} does not exist") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, EOFError) as error:
            raise errors.DataError(
                f"{str(path)!r} is not a shard that se600m wrote, or was cut off ({_files.reason(error)})"
            ) from error

    def shared(self) -> dict[str, Any]:
        """Give what all shards of a run have in common, by the name under which a difference is reported."""
        record = self.record
        return {
            **record["identity"],
            "with_dataset_embedding": record["provenance"]["with_dataset_embedding"],
            "the key": record["key"],
            "its arrays": [f"{name} {rows.dtype}{list(rows.shape[1:])}" for name, rows in sorted(self.arrays.items())],
        }


def _rows_of(path: Path, name: str) -> RowFile:
    """Find an array of an npz file that is not compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        with archive.open(info) as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            head = file.tell()
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return RowFile(path, dtype, shape, info.header_offset + 30 + name_length + extra_length + head)


@dataclass(frozen=True)
class Joined:
    """All shards of a run."""

    members: list[Member]
    source: str
    """The file that the cells are from."""
    key: str
    provenance: dict[str, Any]

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [member.path for member in self.members]

    @property
    def with_dataset(self) -> bool:
        """Whether the dataset embedding belongs in the last columns of the embedding."""
        return bool(self.provenance["with_dataset_embedding"])

    def arrays(self) -> dict[str, Any]:
        """Give the rows of all shards, by the names of the arrays."""
        return {name: Stacked([member.arrays[name] for member in self.members]) for name in self.members[0].names}

    def check_source(self, given: Input) -> None:
        """Make sure that the input has the cells of the shards."""
        record = self.members[0].record
        if given.n_obs != record["n_cells"]:
            n = record["n_cells"]
            raise errors.DataError(f"{given.place!r} has {many(given.n_obs, 'cell')}, but the shards are of {n:,}")
        if given.names_digest() != record["identity"]["its names of cells"]:
            raise errors.DataError(
                f"{given.place!r} has other cells than the shards are of, or in another order: give the file that they "
                "were embedded from"
            )


def join(paths: Sequence[Path]) -> Joined:
    """Open shards and make sure that they are all shards of one run.

    Raises
    ------
    DataError
        A shard is missing, is there twice, or is of another run.
    """
    if not paths:
        raise errors.OptionError("there are no shards to merge: give their .npz files")
    members = sorted((Member(path) for path in paths), key=lambda member: (member.first, member.number))
    one = members[0]
    for member in members[1:]:
        _check_same(one, member)
    numbers = [member.number for member in members]
    for before, after in itertools.pairwise(members):
        if before.number == after.number:
            raise errors.DataError(
                f"{str(before.path)!r} and {str(after.path)!r} are both shard {after.number}/{after.of}: give each once"
            )
    missing = [f"{number}/{one.of}" for number in range(1, one.of + 1) if number not in numbers]
    if missing:
        listed = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        raise errors.DataError(
            f"{many(len(missing), 'shard')} of {one.of} {'is' if len(missing) == 1 else 'are'} missing: {listed}"
        )
    return Joined(members, one.record["source"], one.record["key"], one.record["provenance"] | together(members))


def together(members: Sequence[Member]) -> dict[str, Any]:
    """Give the part of the provenance that is of all cells: sums of what is counted, and their shares."""
    share = np.concatenate([member.share for member in members])
    records = [member.record["provenance"] for member in members]
    return {
        **{name: sum(record[name] for record in records) for name in _report.COUNTED},
        "share_median": float(np.median(share)),
        "share_min": float(share.min()),
    }


def _check_same(one: Member, other: Member) -> None:
    differ = [f"of {one.of} and of {many(other.of, 'shard')}"] if one.of != other.of else []
    here, there = one.shared(), other.shared()
    for name in {**here, **there}:
        values = [repr(made[name]) if name in made else "not noted" for made in (here, there)]
        if values[0] != values[1]:
            differ.append(f"{name} is {values[0]} and {values[1]}")
    if differ:
        raise errors.DataError(
            f"{str(one.path)!r} and {str(other.path)!r} are not of the same run: {'; '.join(differ)}. Embed one "
            "again, with what the others were made with"
        )

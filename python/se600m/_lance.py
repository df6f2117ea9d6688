"""Tables of embedded cells in LanceDB: where they are, what they have, how rows are added and read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from se600m import _extras, _files, errors

if TYPE_CHECKING:
    import pyarrow as pa

NAME, DATASET, VECTOR, ROW = "obs_names", "dataset", "vector", "_rowid"
KEY = [DATASET, NAME]
"""The columns that tell cells apart."""
RESERVED = (NAME, DATASET, VECTOR)
_NOTES = b"se600m"
"""Key of the schema's metadata under which JSON says how the vectors were made."""

_READ_VALUES = 1 << 20
"""Values that LanceDB reads at a time (4 MB); it reads several such batches ahead."""
_BLOCK_VALUES = 1 << 23
"""Values of rows that are searched at once (32 MB)."""
_WAIT_SECONDS = 1.0
"""How long LanceDB's threads are waited for after Ctrl-C. They get no more rows, however long they take."""


def lancedb() -> Any:
    """Import LanceDB.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    return _extras.module("lancedb", "index", "vector search requires")


@dataclass(frozen=True)
class Place:
    """Where a table is: ``folder/name.lance``, which is how LanceDB lays out its tables."""

    given: str
    folder: str
    name: str

    @property
    def local(self) -> Path | None:
        """The table's own folder, if it is on this machine."""
        return None if "://" in self.folder else Path(self.folder, f"{self.name}.lance")


def place_of(uri: str | os.PathLike[str]) -> Place:
    """Take a path or address apart.

    Raises
    ------
    OptionError
        It does not name a table.
    """
    given = os.fspath(uri)
    address = "://" in given
    whole = given if address else os.path.realpath(os.path.expanduser(given))
    folder, _, last = whole.rstrip("/").rpartition("/")
    name = last.removesuffix(".lance")
    if name == last or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) or given.startswith("db://"):
        raise errors.OptionError(
            f"uri={given!r} is not the path or address of a table: give one that ends in NAME.lance, where NAME has "
            "only letters, digits, '_', '-' and '.', such as 'atlas.lance'"
        )
    return Place(given, folder or "/", name)


class Table:
    """A table of embedded cells: names, data sets, vectors and columns of obs.

    Attributes
    ----------
    notes
        How its vectors were made, as :func:`se600m.index` noted it.
    width
        Width of its vectors.
    """

    def __init__(self, place: Place, table: Any) -> None:
        self.place, self._table = place, table
        metadata = dict(self.schema.metadata or {})
        try:
            self.width = int(self.schema.field(VECTOR).type.list_size)
            self.notes: dict[str, Any] = json.loads(metadata[_NOTES])
        except (KeyError, ValueError, AttributeError):
            raise errors.DataError(
                f"{place.given!r} is a table that se600m.index did not write: choose another one"
            ) from None

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self._table.schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns of obs."""
        return [name for name in self.schema.names if name not in RESERVED]

    @property
    def n_rows(self) -> int:
        """Number of cells."""
        return int(self._table.count_rows())

    @property
    def version(self) -> int:
        """Number of the version that is open."""
        return int(self._table.version)

    @property
    def has_index(self) -> bool:
        """Whether there is an approximate index over the vectors."""
        return any(VECTOR in found.columns for found in self._table.list_indices())

    def pin(self) -> None:
        """Have all reads see the version that is open, whatever others write meanwhile."""
        self._table.checkout(self._table.version)

    # -- writing -------------------------------------------------------------------------------

    def write(self, batches: Iterator[pa.RecordBatch], fields: list[pa.Field], *, replace: bool) -> None:
        """Add rows, all of them or none.

        Parameters
        ----------
        fields
            Columns of ``batches`` that the table does not have yet; earlier rows get none of their values.
        replace
            Some rows have keys of rows that are there, which they replace.
        """
        import pyarrow as pa

        before, kept = self.version, _Kept(batches)
        try:
            if fields:
                self._table.add_columns(fields)
            rows = pa.RecordBatchReader.from_batches(self.schema, kept)
            if replace:
                merge = self._table.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
                merge.execute(rows)
            else:
                self._table.add(rows)
        except BaseException as error:
            kept.stop()
            with contextlib.suppress(Exception):
                if self.version != before:
                    self._table.restore(before)
            kept.raise_from(error, self.place)
            raise

    def build_index(self) -> None:
        """Build an approximate index over the vectors, IVF_PQ with cosine distances, or build it anew."""
        most = max(1, self.width // 16)
        parts = next(n for n in range(most, 0, -1) if self.width % n == 0)
        from lancedb.index import IvfPq

        try:
            self._table.create_index(VECTOR, config=IvfPq(distance_type="cosine", num_sub_vectors=parts), replace=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.DestinationError(
                f"the cells are in {self.place.given!r}, but its approximate index could not be built: "
                f"{first_line(error)}. Index them again with overwrite=True and ann=True"
            ) from error

    # -- reading -------------------------------------------------------------------------------

    def rows(self, columns: list[str], where: str | None = None, n_values: int = 0) -> Iterator[pa.RecordBatch]:
        """Read columns and the numbers of the rows, always in the same order.

        Parameters
        ----------
        where
            A condition in SQL; all rows by default.
        n_values
            Values of a row, which bound how many rows are read at a time.
        """
        query = self._table.search().select(columns).with_row_id(True)
        if where is not None:
            query = query.where(where)
        at_once = min(1 << 16, max(1, _READ_VALUES // max(1, n_values)))
        try:
            yield from query.to_batches(batch_size=at_once)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._unreadable(error, where) from error

    def read(self, columns: list[str], where: str | None = None) -> pa.Table:
        """Read columns into memory, with the numbers of the rows."""
        import pyarrow as pa

        schema = pa.schema([*(self.schema.field(name) for name in columns), pa.field(ROW, pa.uint64())])
        return pa.Table.from_batches([b.select(schema.names).cast(schema) for b in self.rows(columns, where)], schema)

    def vectors(self, where: str | None = None) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]]:
        """Read the vectors in blocks, with the numbers of the rows."""
        ids: list[Any] = []
        rows: list[Any] = []
        for batch in self.rows([VECTOR], where, self.width):
            ids.append(batch.column(ROW).to_numpy(zero_copy_only=False))
            rows.append(matrix(batch.column(VECTOR), self.width))
            if sum(map(len, ids)) * self.width >= _BLOCK_VALUES:
                yield np.concatenate(ids), np.concatenate(rows)
                ids, rows = [], []
        if ids:
            yield np.concatenate(ids), np.concatenate(rows)

    def candidates(
        self, vector: npt.NDArray[np.float32], n: int, columns: list[str], where: str | None, nprobes: int | None
    ) -> pa.Table:
        """Find cells that are likely to be among the nearest of one, by the index, with their vectors."""
        query = self._table.search(vector, vector_column_name=VECTOR).metric("cosine").limit(n)
        if where is not None:
            query = query.where(where, prefilter=True)
        if nprobes is not None:
            query = query.nprobes(nprobes)
        try:
            return query.select([*columns, VECTOR, "_distance"]).to_arrow().drop_columns(["_distance"])
        except (OSError, RuntimeError, ValueError) as error:
            raise self._unreadable(error, where) from error

    def _unreadable(self, error: Exception, where: str | None) -> errors.SE600MError:
        if where is not None and not isinstance(error, OSError):
            return errors.OptionError(f"where={where!r} can't be used: {first_line(error)}")
        return errors.DataError(f"{self.place.given!r} can't be read: {first_line(error)}")


def matrix(column: Any, width: int) -> npt.NDArray[np.float32]:
    """See a column of vectors as an array, float32 ``[n, width]``."""
    values = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    return np.asarray(values.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width)


class _Kept:
    """Batches of rows, which LanceDB takes in threads of its own.

    An error on the way, of which LanceDB gives only the text, is kept. After Ctrl-C, which ends only the wait for those
    threads, they get no more rows, so that they do not complete a version.
    """

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._begun = False

    def __iter__(self) -> Iterator[Any]:
        self._begun = True
        try:
            for batch in self._batches:
                if self._stopped.is_set():
                    raise InterruptedError("interrupted")
                yield batch
            if self._stopped.is_set():
                raise InterruptedError("interrupted")
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Give no more rows, and wait a little until none is asked for."""
        self._stopped.set()
        if self._begun:
            self._ended.wait(_WAIT_SECONDS)

    def raise_from(self, error: BaseException, place: Place) -> None:
        """Raise what was wrong with the batches, or say that the table could not be written."""
        if self._error is not None and not isinstance(self._error, InterruptedError):
            raise self._error from None
        if isinstance(error, OSError | RuntimeError | ValueError) and not isinstance(error, errors.SE600MError):
            raise errors.DestinationError(
                f"{place.given!r} could not be written: {first_line(error)}. It is as it was before"
            ) from error


def first_line(error: BaseException) -> str:
    """Say what LanceDB says, without where in its source that is."""
    text = re.split(r"\n|, (?:/|[A-Za-z]:\\)\S+\.rs:\d+", str(error).strip())[0]
    return text.strip() or type(error).__name__


def opened(place: Place) -> Table | None:
    """Open a table; None if there is none.

    Raises
    ------
    DataError
        It is not one that se600m wrote, or it can't be read.
    """
    db = lancedb()
    folder = place.local
    if folder is not None and not (folder / "_versions").is_dir():
        if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - {"data", "_transactions"}):
            raise errors.DestinationExistsError(
                f"{place.given!r} exists and is not a table of LanceDB: choose another path"
            )
        return None
    try:
        table = db.connect(place.folder).open_table(place.name)
    except (ValueError, FileNotFoundError) as error:
        if folder is None and "not found" in str(error).lower():
            return None
        raise errors.DataError(f"{place.given!r} can't be opened: {first_line(error)}") from error
    except (OSError, RuntimeError) as error:
        raise errors.DataError(f"{place.given!r} can't be opened: {first_line(error)}") from error
    return Table(place, table)


def create(place: Place, batches: Iterator[pa.RecordBatch], schema: pa.Schema, notes: Mapping[str, Any]) -> Table:
    """Create a table with rows, all of them or none."""
    import pyarrow as pa

    schema = schema.with_metadata({_NOTES: json.dumps(dict(notes))})
    kept, folder = _Kept(batches), place.local
    try:
        if folder is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
        db = lancedb().connect(place.folder)
        table = db.create_table(place.name, pa.RecordBatchReader.from_batches(schema, kept), schema=schema)
    except BaseException as error:
        kept.stop()
        if folder is not None and not (folder / "_versions").is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        kept.raise_from(error, place)
        raise
    return Table(place, table)


def check_writable(place: Place) -> None:
    """Make sure that a new table can be written, before the work that it is for."""
    if place.local is not None:
        _files.check_folder(
            place.local, "the table", overwrite=True, option="overwrite=True", replaceable=".", kind="a table"
        )


def text(value: str) -> str:
    """Write text in SQL."""
    return "'" + value.replace("'", "''") + "'"

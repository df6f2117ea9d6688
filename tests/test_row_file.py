"""Rows of an array in a file: slices of them, and nothing that stays in memory."""

import numpy as np
import pytest

from se600m import _trees
from se600m._row_file import RowFile, unmapped


@pytest.fixture
def rows(tmp_path):
    values = np.arange(7 * 3, dtype=np.float32).reshape(7, 3)
    (tmp_path / "rows").write_bytes(b"head" + values.tobytes())
    return RowFile(tmp_path / "rows", np.float32, (7, 3), 4), values


@pytest.mark.parametrize("part", [slice(0, 7), slice(2, 5), slice(6, 7), slice(3, 3), slice(5, 99), slice(-2, None)])
def test_slices_are_those_of_an_array(rows, part):
    stored, values = rows
    assert np.array_equal(stored[part], values[part])
    assert stored[part].dtype == np.float32


def test_it_looks_like_an_array(rows):
    stored, values = rows
    for name in ("shape", "ndim", "size", "itemsize", "dtype"):
        assert getattr(stored, name) == getattr(values, name)
    assert len(stored) == 7
    assert np.array_equal(np.asarray(stored), values)
    assert np.asarray(stored, np.float64).dtype == np.float64


def test_no_rows_and_rows_of_nothing(tmp_path):
    (tmp_path / "rows").touch()
    assert RowFile(tmp_path / "rows", np.int32, (0, 3))[:].shape == (0, 3)
    assert RowFile(tmp_path / "rows", np.int32, (4, 0))[1:3].shape == (2, 0)


def test_every_other_row_is_refused(rows):
    with pytest.raises(ValueError, match="not every 2"):
        rows[0][::2]


def test_a_file_that_was_cut_off_is_named(tmp_path, rows):
    with (tmp_path / "rows").open("r+b") as file:
        file.truncate(4 + 5 * 12 + 1)
    assert np.array_equal(rows[0][:5], rows[1][:5])
    with pytest.raises(OSError, match=r"rows' ends before row 6 of 7"):
        rows[0][4:6]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "|u1"])
def test_mapped_arrays_are_read_from_their_files(tmp_path, order, dtype):
    values = np.asarray(np.arange(7 * 3).reshape(7, 3), dtype, order=order)
    np.save(tmp_path / "rows.npy", values)
    rows = unmapped(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert isinstance(rows, RowFile) and rows.shape == (7, 3)
    for part in (slice(0, 7), slice(2, 5), slice(6, 9), slice(4, 4)):
        assert np.array_equal(rows[part], values[part]) and rows[part].dtype == values.dtype


def test_rows_are_written_into_the_file_of_a_mapped_array(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, (5, 2, 3))
    rows = unmapped(mapped, to_write=True)
    assert isinstance(rows, RowFile)
    values = np.arange(30).reshape(5, 2, 3)
    rows[:3] = values[:3]
    rows[3:] = values[3:].astype(np.float64)
    rows[2:2] = values[:0]
    assert np.array_equal(mapped, values), "who holds the mapped array sees them"
    assert np.array_equal(np.load(tmp_path / "rows.npy"), values)


def test_other_arrays_stay_as_they_are(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((4, 2), np.float32))
    changed = np.load(tmp_path / "rows.npy", mmap_mode="c")
    changed[0] = 1  # which the file does not have
    read_only = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for values in (changed, read_only[1:], np.zeros((4, 2))):
        assert unmapped(values) is values
    assert unmapped(read_only, to_write=True) is read_only
    by_column = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, (4, 2), fortran_order=True)
    assert unmapped(by_column, to_write=True) is by_column


def test_what_was_read_does_not_stay_in_memory(tmp_path):
    """A mapped file would count as memory of the process as far as it was read."""
    n = 64
    with (tmp_path / "rows").open("wb") as file:
        for _ in range(n):
            file.write(bytes(1 << 20))
    rows = RowFile(tmp_path / "rows", np.uint8, (n, 1 << 20))

    def of_files():
        """Bytes of files that are mapped into this process and in memory."""
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssFile"))

    before = of_files()
    for part in _trees.blocks(rows):
        rows[part]
    assert of_files() - before < 16 << 20

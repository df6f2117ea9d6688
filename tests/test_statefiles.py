"""The writer of checkpoints for tests: what it writes is what torch.save would."""

import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import statefiles

DTYPES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8"}


class Reader(pickle.Unpickler):
    """Reads a torch file by the meaning of its names, as torch does."""

    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)
        super().__init__(self.archive.open("archive/data.pkl"))

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.rebuild
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else f"{module}.{name}"

    def persistent_load(self, pid):
        kind, storage, key, location, n = pid
        assert (kind, location) == ("storage", "cpu")
        content = self.archive.read(f"archive/data/{key}")
        if storage == "torch.BFloat16Storage":
            wide = np.frombuffer(content, "<u2").astype(np.uint32) << 16
            values = wide.view(np.float32)
        else:
            values = np.frombuffer(content, DTYPES[storage.removeprefix("torch.")])
        assert values.size == n
        return values

    @staticmethod
    def rebuild(storage, offset, shape, strides, requires_grad, hooks):
        assert requires_grad is False
        assert hooks == OrderedDict()
        steps = [s * storage.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


@pytest.fixture
def value():
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    return {
        "plain": [None, True, -1, 2**40, 0.5, "Γene", (1, (2, 3), ())],
        "state_dict": OrderedDict(
            double=np.array([[1.0, 2.0], [3.0, 4.0]]),
            half=np.array([0.5], np.float16),
            long=np.array([2**40]),
            scalar=np.array(7, np.float32),
            empty=np.zeros((0, 4), np.float32),
            columns=table.T,
            brain=statefiles.BFloat16(np.array([1.0, -2.5])),
        ),
        "rows": {f"G{i}": statefiles.Row(table, i) for i in range(4)},
    }


def test_another_reader_finds_the_same(value, tmp_path):
    path = tmp_path / "x.pt"
    statefiles.save_torch(path, value)
    got = Reader(path).load()
    assert got["plain"] == value["plain"]
    assert type(got["state_dict"]) is OrderedDict
    for name, want in value["state_dict"].items():
        want = want.values if isinstance(want, statefiles.BFloat16) else want
        assert got["state_dict"][name].shape == want.shape
        assert np.array_equal(got["state_dict"][name], want)
    for i in range(4):
        assert got["rows"][f"G{i}"].tolist() == [3 * i, 3 * i + 1, 3 * i + 2]


def test_rows_of_a_table_share_its_storage(value, tmp_path):
    path = tmp_path / "x.pt"
    statefiles.save_torch(path, value["rows"])
    assert [n for n in zipfile.ZipFile(path).namelist() if "/data/" in n] == ["archive/data/0"]


def test_the_bytes_are_the_same_each_time(value, tmp_path):
    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    statefiles.save_torch(first, value)
    statefiles.save_torch(second, value)
    assert first.read_bytes() == second.read_bytes()


def test_the_names_are_torch_s(value, tmp_path):
    path = tmp_path / "x.pt"
    statefiles.save_torch(path, value)
    program = zipfile.ZipFile(path).read("archive/data.pkl")
    assert program[:2] == b"\x80\x02", "the protocol that torch.save writes"
    named = {arg for op, arg, _ in pickletools.genops(program) if op.name == "GLOBAL"}
    storages = {"DoubleStorage", "HalfStorage", "LongStorage", "FloatStorage", "BFloat16Storage"}
    assert named == {
        "torch._utils _rebuild_tensor_v2",
        "collections OrderedDict",
        *(f"torch {name}" for name in storages),
    }


@pytest.mark.parametrize("installed", [False, True])
def test_torch_is_left_as_it_was(value, tmp_path, monkeypatch, installed):
    for name in ("torch", "torch._utils"):
        if installed:
            monkeypatch.setitem(sys.modules, name, object())
        else:
            monkeypatch.delitem(sys.modules, name, raising=False)
    before = {name: module for name, module in sys.modules.items() if name.startswith("torch")}
    statefiles.save_torch(tmp_path / "x.pt", value)
    with pytest.raises(TypeError, match=r"no pickle for.*complex"):
        statefiles.save_torch(tmp_path / "y.pt", {"state_dict": [1j]})
    assert {name: module for name, module in sys.modules.items() if name.startswith("torch")} == before
    assert not (tmp_path / "y.pt").exists()

"""The loop over chunks: order, one chunk read ahead, errors, and that it lets go of everything."""

import threading

import numpy as np
import pytest

from se600m import _chunks, _native


class Chunk:
    def __init__(self, n_cells):
        self.n_cells, self.request = n_cells, {"n_cells": n_cells}


class Source:
    """Ten rows; ``fails_at`` is the row from which reading fails."""

    def __init__(self, fails_at=None):
        self.fails_at, self.read, self.closed = fails_at, [], False

    def chunks(self, most=None):
        try:
            for first in range(0, 10, most or 10):
                if self.fails_at is not None and first >= self.fails_at:
                    raise OSError("the file ends here")
                self.read.append(first)
                yield first, Chunk(min(most or 10, 10 - first))
        finally:
            self.closed = True


class Go:
    """Stands in for the native jobs: writes row numbers into the memory that it is given."""

    def __init__(self, monkeypatch):
        self.requests, self.arrays = [], []
        monkeypatch.setattr(_native, "array", self.array)
        monkeypatch.setattr(_native, "run", self.run)

    def array(self, values):
        self.arrays.append(values)
        return len(self.arrays) - 1

    def run(self, kind, request, progress=None):
        self.requests.append((kind, request))
        done = sum(r["n_cells"] for _, r in self.requests[:-1])
        self.arrays[request["output"]][:] = done + np.arange(request["n_cells"])


@pytest.mark.parametrize("step", [None, 1, 3, 4, 10, 99])
def test_every_row_once_and_in_order(monkeypatch, step):
    go, out = Go(monkeypatch), np.full(10, -1)
    sink = _chunks.ArraySink({"output": out}, step)
    _chunks.run_chunks(Source(), sink, _chunks.Job("count", {"model": 7}))
    assert np.array_equal(out, np.arange(10))
    assert sum(request["n_cells"] for _, request in go.requests) == 10
    assert all(kind == "count" and request["model"] == 7 for kind, request in go.requests)
    assert max(request["n_cells"] for _, request in go.requests) <= (step or 10)


def test_one_chunk_is_read_ahead_and_no_more(monkeypatch):
    source, ahead, another_read = Source(), [], threading.Event()

    class Sink(_chunks.ArraySink):
        def store(self, rows, arrays):
            if rows.stop < 10:
                assert another_read.wait(60), "the next chunk is read while this one is worked on"
                another_read.clear()
            ahead.append(len(source.read))

    chunks = source.chunks

    def reading(most):
        for first, chunk in chunks(most):
            if first:
                another_read.set()
            yield first, chunk

    source.chunks = reading
    Go(monkeypatch)
    _chunks.run_chunks(source, Sink({"output": np.empty(10)}, 2), _chunks.Job("count", {}))
    assert ahead == [2, 3, 4, 5, 5]


def test_an_error_of_reading_comes_after_what_was_read(monkeypatch):
    source, out = Source(fails_at=4), np.full(10, -1)
    Go(monkeypatch)
    with pytest.raises(OSError, match="the file ends here"):
        _chunks.run_chunks(source, _chunks.ArraySink({"output": out}, 2), _chunks.Job("count", {}))
    assert np.array_equal(out, [0, 1, 2, 3, *[-1] * 6])
    assert source.closed


def test_no_reader_is_left_behind(monkeypatch):
    class Sink(_chunks.ArraySink):
        def store(self, rows, arrays):
            raise KeyboardInterrupt

    Go(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        _chunks.run_chunks(Source(), Sink({"output": np.empty(10)}, 2), _chunks.Job("count", {}))
    assert not [t for t in threading.enumerate() if t.name.startswith("se600m-reader")]

"""How long a run takes, said in its first seconds. The clock is made of numbers: nothing here waits."""

import logging

import pytest

import se600m
from se600m import _choices, _estimate, _progress
from se600m._estimate import Estimate, Run, duration


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def watched(total, steps, run=None, unit="cell"):
    """What is said when so many cells are done after so many seconds."""
    clock, said = Clock(), []
    estimate = Estimate(total, unit, run or Run(), said.append, clock)
    for seconds, done in steps:
        clock.now = 1000.0 + seconds
        estimate.update(done)
    return said


def test_a_long_run_is_spoken_of_once():
    run = Run("2 cores, fp32", lambda: ['precision="int8"'])
    said = watched(50_000, [(0, 0), (3, 0), (4.8, 20), (10, 40), (20, 80)], run)
    assert said == [
        'about 3 h 20 min for 50,000 cells (0.24 s per cell on 2 cores, fp32); faster on this machine: precision="int8"'
    ]


@pytest.mark.parametrize(
    "total, steps",
    [
        pytest.param(1000, [(0, 0), (5, 500), (10, 1000)], id="short"),
        pytest.param(10**6, [(0, 0), (0.5, 1), (1.9, 2)], id="not settled"),
        pytest.param(10**6, [(0, 0), (100, 0)], id="nothing is done yet"),
        pytest.param(100, [(0, 0), (100, 100)], id="all is done"),
        pytest.param(0, [(0, 0), (100, 0)], id="nothing to do"),
    ],
)
def test_nothing_is_said_of(total, steps):
    assert watched(total, steps, Run("", lambda: pytest.fail("looked up for nothing"))) == []


def test_a_run_that_becomes_slow_is_spoken_of_then():
    said = watched(1000, [(0, 0), (5, 500), (70, 600), (80, 700)])
    assert said == ["about 2 min for 1,000 cells (0.12 s per cell)"]


@pytest.mark.parametrize(
    "seconds, text",
    [
        (2, "2 s"), (59.4, "59 s"), (59.6, "1 min"), (90, "2 min"), (3599, "1 h"), (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (47 * 3600, "47 h"), (48 * 3600, "2 days"), (52 * 3600 + 60, "2 days 4 h"), (1e7, "115 days 17 h"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "seconds, text",
    [(11.4, "11 s"), (1.44, "1.4 s"), (0.24, "0.24 s"), (0.0141, "14 ms"), (0.0011, "1.1 ms"), (2.5e-5, "25 µs")],
)
def test_time_per_cell(seconds, text):
    assert _estimate._short(seconds) == text


@pytest.mark.parametrize("shown", [True, False])
def test_it_is_shown_beside_the_bar_and_logged_where_there_is_none(monkeypatch, capsys, caplog, shown):
    clock = Clock()
    monkeypatch.setattr(_progress, "Estimate", lambda *args: Estimate(*args, clock))
    with (
        caplog.at_level(logging.INFO, logger="se600m"),
        _progress.bar(shown, "Embedding", 1000, run=Run("2 cores")) as update,
    ):
        update(0, 0)
        clock.now += 6
        update(5, 500)  # the first of two jobs
        update(500, 500)
        update(0, 0)
        update(300, 500)
    sentence = "Embedding: about 20 min for 1,000 cells (1.2 s per cell on 2 cores)"
    assert (sentence in capsys.readouterr().err) == shown
    assert ([r.getMessage() for r in caplog.records] == [sentence]) != shown


def test_embedding_is_estimated(immune, monkeypatch, caplog, random_model):
    """The whole way, with a clock on which the model takes a minute for each look."""
    clock = Clock()

    def tick():
        clock.now += 60
        return clock.now

    monkeypatch.setattr(_progress, "Estimate", lambda *args: Estimate(*args, tick))
    monkeypatch.setattr(se600m._anndata, "_CHUNK_VALUES", immune.n_vars)
    immune.X = immune.X.tocsc()  # comes in chunks of a cell
    with caplog.at_level(logging.INFO, logger="se600m"):
        se600m.embed(immune, model=random_model().model, threads=1, progress=False)
    (said,) = [r.getMessage() for r in caplog.records if "per cell on" in r.getMessage()]
    assert "for 24 cells" in said
    assert "per cell on 1 core, fp32)" in said


FLAGS = {"avx2", "avx512_vnni", "avx512_bf16"}


@pytest.mark.parametrize(
    "device, precision, width, threads, want",
    [
        pytest.param("cpu", "fp32", 2048, None, ["int8", "bf16"], id="exact and wide"),
        pytest.param("cpu", "fp32", 128, None, [], id="a small model gains nothing"),
        pytest.param("cpu", "int8", 2048, None, [], id="int8 already"),
        pytest.param("openvino", "bf16", 2048, None, [], id="bf16 already"),
        pytest.param("cpu", "fp32", 2048, 2, ["threads=4", "int8", "bf16"], id="some of the cores"),
        pytest.param("cpu", "int8", 2048, 4, [], id="all cores"),
        pytest.param("cuda:0", "fp32", 2048, 1, [], id="another device"),
    ],
)
def test_faster_choices_of_a_run(monkeypatch, device, precision, width, threads, want):
    monkeypatch.setattr(_choices, "processor", lambda: ("processor", FLAGS))
    monkeypatch.setattr(_choices, "cores", lambda: 4)
    found = _choices.faster(device, precision, width, threads)
    assert len(found) == len(want)
    assert all(part in text for part, text in zip(want, found, strict=True))

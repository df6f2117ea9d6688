"""Real cells, and random models made on the spot."""

import os

# Processes of pytest-xdist share the cores. To be said before anything that starts threads is imported.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    _share = max(1, len(os.sched_getaffinity(0)) // workers)
    for _name in ("GOMAXPROCS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, str(_share))

import signal
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest

import jobs as native_jobs
import se600m
import statefiles
from se600m import _cli_run, _library, _log, cli

# What the user has installed, for the tests that need it.
OPENVINO = Path(_library.find("openvino"))

# A shell that starts tests in the background has Ctrl-C ignored, and child processes inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before anything converts: tests leave the user's cache alone. Processes that tests start share the tests' own, so
# that the model in the package is converted once.
if os.environ.get("SE600M_CACHE", "") != os.environ.get("SE600M_CACHE_OF_TESTS"):
    _cache = tempfile.TemporaryDirectory(prefix="se600m-test-cache-")
    os.environ["SE600M_CACHE"] = os.environ["SE600M_CACHE_OF_TESTS"] = _cache.name

    os.environ["SE600M_CONFIG"] = os.path.join(_cache.name, "config")  # nor has the user accepted any licence
    os.environ.pop("SE600M_ACCEPT_LICENCE", None)

DATA = Path(__file__).parent / "data"
IMMUNE = DATA / "immune559.h5ad"


@pytest.fixture(scope="session")
def _immune() -> anndata.AnnData:
    return anndata.read_h5ad(IMMUNE)


@pytest.fixture
def immune(_immune: anndata.AnnData) -> anndata.AnnData:
    """24 cells × 32,786 genes, raw counts: a copy to do anything with."""
    return _immune[:24].copy()


@pytest.fixture
def pbmc() -> anndata.AnnData:
    """24 cells; log1p values of 765 genes in .raw, scaled values in .X."""
    import scanpy as sc  # not where tests of GPUs run from a folder

    return sc.datasets.pbmc68k_reduced()[:24].copy()


@pytest.fixture
def jobs() -> Iterator[native_jobs.Jobs]:
    """Watch native jobs, and interrupt one in its middle."""
    with native_jobs.watched() as seen:
        yield seen


def need_zarr() -> types.ModuleType:
    """The package of the extra of that name; without it the test is skipped."""
    return pytest.importorskip("zarr", reason="needs the extra zarr")


zarr = pytest.fixture(need_zarr)


@pytest.fixture
def read_lazy():
    """anndata's way to read what is needed of a file only, when it is needed."""
    if not hasattr(anndata.experimental, "read_lazy"):
        pytest.skip("needs anndata 0.12, the first with read_lazy")
    return anndata.experimental.read_lazy


class RandomModel:
    """A random checkpoint, on the disk as a folder, and opened."""

    def __init__(
        self,
        folder: Path,
        genes: list[str],
        *,
        seed: int = 0,
        encoding: str = "soft-bins",
        dataset_correction: bool = True,
        read_depth: bool = True,
        decoder: bool = True,
        **dims: int,
    ) -> None:
        sizes = {
            "token_dim": 24,
            "emsize": 32,
            "d_hid": 48,
            "nhead": 4,
            "nlayers": 2,
            "output_dim": 20,
            "pad_length": 300,
        }
        self.dims = statefiles.Dims(n_genes=len(genes), **(sizes | dims))
        self.folder, self.genes, self.encoding, self.dataset_correction = folder, genes, encoding, dataset_correction
        self.read_depth = read_depth
        options = {"dataset_correction": dataset_correction, "encoding": encoding, "read_depth": read_depth}
        self.state = statefiles.random_state(self.dims, seed, decoder=decoder, **options)
        self.config = statefiles.config_text(self.dims, **options)
        self.table = np.random.default_rng(seed + 1).standard_normal((len(genes), self.dims.token_dim), np.float32)
        self.rows = {gene: statefiles.Row(self.table, i) for i, gene in enumerate(genes)}
        statefiles.save_folder(folder, self.state, self.config, self.rows)
        self._model: se600m.Model | None = None

    @property
    def model(self) -> se600m.Model:
        if self._model is None:
            self._model = se600m.load_model(self.folder)
        return self._model


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, _immune: anndata.AnnData) -> Callable[..., RandomModel]:
    """Makes random models, each once, over every second gene of the immune cells."""
    made: dict[tuple, RandomModel] = {}
    genes = list(_immune.var_names[::2])

    def make(**options) -> RandomModel:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = RandomModel(tmp_path_factory.mktemp("random") / "model", genes, **options)
        return made[key]

    return make


@pytest.fixture
def told(monkeypatch, capsys):
    """Runs the command in this process: each process would take seconds to import what it needs."""
    monkeypatch.setattr(_cli_run, "_listen", lambda: None)
    monkeypatch.setattr(_cli_run, "_flags", {})
    monkeypatch.setattr(_log, "worded", str)

    def run(*args, with_output=False):
        monkeypatch.setattr(_cli_run, "_kept", [])
        monkeypatch.setattr(_cli_run, "_to_go_on", [])
        monkeypatch.setattr(sys, "argv", ["se600m", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return (ended.value.code, said.err, *([said.out] if with_output else []))

    return run


@pytest.fixture
def run(told, monkeypatch):
    """Runs the command in this process, with its warnings, and gives what a process of it would."""

    def run(*args, cwd=None):
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("default")
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)
            warnings.showwarning = _cli_run._show_warning
            if cwd is not None:
                patch.chdir(cwd)
            status, err, out = told(*map(str, args), with_output=True)
        return subprocess.CompletedProcess(["se600m", *args], status, out, err)

    return run

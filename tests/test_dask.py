"""Dask: lazy embeddings, on threads and on clusters of processes, and files computed by a cluster."""

import contextlib
import functools
import importlib
import inspect
import os
import pickle
import signal
import subprocess
import sys
import time

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import se600m
from se600m import _cluster, _lazy, _lazy_embed, _opened, _workers, errors

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

OPTIONS = {"expression": "counts", "fill": "independent", "seed": 3}
"""Which draw by the number of each row."""


@pytest.fixture(scope="module")
def cluster():
    """Four processes; the tests that need one take the first.

    A worker that is killed is started again by its nanny, which a LocalCluster ends if that takes longer than 15 s, as
    it may on a busy machine, whatever the new worker is doing then.
    """
    options = {"n_workers": 4, "threads_per_worker": 1, "dashboard_address": None, "processes": True}
    patient = {"distributed.deploy.lost-worker-timeout": "1h"}
    with importlib.import_module("dask").config.set(patient), distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def model(random_model):
    return random_model(pad_length=300).model


@pytest.fixture
def cells(immune):
    return immune[:13, :3000].copy()


@pytest.fixture
def want(cells, model):
    return model.compute(cells, **OPTIONS)


def lazy(cells, rows, genes=3000, make=sp.csr_matrix):
    values = make(cells.X)
    return anndata.AnnData(da.from_array(values, chunks=(rows, genes), asarray=False), cells.obs, cells.var)


def dense(x):
    return x.toarray()


# -- lazy arrays -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, dense])
@pytest.mark.parametrize(("rows", "genes"), [(1, 3000), (5, 1000), (13, 701), ((3, 9, 1), 3000)])
def test_the_same_bits_as_in_memory(cells, model, want, make, rows, genes):
    if make is sp.csr_array and genes < 3000:  # whose blocks dask can't join before
        pytest.importorskip("scipy", minversion="1.12")
    adata = lazy(cells, rows, genes, make)
    model.embed(adata, **OPTIONS)
    got = adata.obsm["X_state"]
    assert isinstance(got, da.Array) and got.dtype == np.float32
    assert got.chunks == (adata.X.chunks[0], (model.output_dim,))
    assert np.array_equal(got.compute(), want.embedding)
    assert np.array_equal(adata.obsm["X_state_dataset"].compute(), want.dataset_embedding)
    model.embed(adata, with_dataset_embedding=True, **OPTIONS)
    both = adata.obsm["X_state"]
    assert len(both.chunks[1]) == 1
    assert np.array_equal(both.compute(), np.hstack([want.embedding, want.dataset_embedding]))
    assert "X_state_dataset" not in adata.obsm


def test_nothing_is_computed_before_it_is_asked_for(cells, model, monkeypatch):
    blocks = []
    block = _lazy_embed._block

    def counted(rows, recipe, block_info=None):
        blocks.append(block_info[None]["array-location"][0])
        return block(rows, recipe, block_info)

    monkeypatch.setattr(_lazy_embed, "_block", counted)
    adata = lazy(cells, 5)
    model.embed(adata, **OPTIONS)
    assert blocks == []
    adata.obsm["X_state"][6:8].compute(scheduler="sync")
    assert blocks == [(5, 10)], "only the block that has them"
    importlib.import_module("dask").compute(adata.obsm["X_state"], adata.obsm["X_state_dataset"])
    assert sorted(blocks[1:]) == [(0, 5), (5, 10), (10, 13)], "the model runs once for both"


def test_what_differs_has_other_names(cells, model):
    """Dask computes arrays of one name once."""
    values = da.from_array(sp.csr_matrix(cells.X), chunks=(5, 3000), asarray=False)
    renamed = cells.var[::-1]
    with se600m.load_model(model.directory, precision="int8") as other:
        found = []
        for made, var in ((model, cells.var), (other, cells.var), (model, renamed)):
            adata = anndata.AnnData(values, cells.obs, var)
            made.embed(adata, **OPTIONS)
            found.append(adata.obsm["X_state"])
        alone = [array.compute(scheduler="sync") for array in found]
        together = importlib.import_module("dask").compute(*found, scheduler="sync")
    assert len({array.name for array in found}) == 3
    for one, with_others in zip(alone, together, strict=True):
        assert np.array_equal(one, with_others)
    assert not np.array_equal(alone[0], alone[1]) and not np.array_equal(alone[0], alone[2])


@pytest.mark.parametrize("fill", ["auto", "shared", "expected", "none"])
def test_fill_policies(cells, model, fill):
    cells = cells[:, :400].copy()  # so few that a sentence has room for all
    adata = lazy(cells, 4, 400)
    options = {"expression": "counts", "fill": fill, "seed": 7}
    model.embed(adata, **options)
    want = model.compute(cells, **options)
    assert np.array_equal(adata.obsm["X_state"].compute(), want.embedding)
    noted = adata.uns["X_state"]
    same = set(noted) & set(want.provenance)
    assert {name: noted[name] for name in same} == {name: want.provenance[name] for name in same}
    assert {"fill", "n_matched", "model_checksum", "provider"} <= same
    assert "share_median" not in noted and "n_counts" not in noted, "what is not known yet"


def test_views_layers_and_features(cells, model):
    adata = lazy(cells, 5)
    adata.layers["counts"] = adata.X
    cells.layers["counts"] = cells.X
    types = np.where(np.arange(3000) % 9, "Gene Expression", "Antibody Capture")
    adata.var["feature_types"] = cells.var["feature_types"] = types
    for which in (slice(None), slice(2, 11, 2), [7, 2, 9]):
        view = adata[which, 5:]
        assert view.is_view
        result = model.embed(view, layer="counts", copy=True, **OPTIONS)
        want = model.compute(cells[which, 5:], layer="counts", **OPTIONS)
        assert np.array_equal(result.obsm["X_state"].compute(), want.embedding)


def test_empty_blocks(cells, model, want):
    adata = lazy(cells, 5)
    kept = np.r_[0:5, 10:13]
    adata = adata[kept].copy()
    adata.X = da.concatenate([adata.X[:0], adata.X], axis=0)
    model.embed(adata, expression="counts")
    assert adata.obsm["X_state"].compute().shape == (8, model.output_dim)


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr"])
def test_lazily_read_files(cells, model, want, tmp_path, name, read_lazy):
    if name.endswith("zarr"):
        pytest.importorskip("zarr", reason="needs the extra zarr")
    getattr(cells, f"write_{name[2:]}")(tmp_path / name)
    adata = read_lazy(tmp_path / name)
    model.embed(adata, **OPTIONS)
    assert isinstance(adata.obsm["X_state"], da.Array)
    assert np.array_equal(adata.obsm["X_state"].compute(), want.embedding)
    h5py = importlib.import_module("h5py")
    if name.endswith("h5ad"):
        with h5py.File(tmp_path / name) as file:
            x = anndata.experimental.read_elem_lazy(file["X"], chunks=(4, 3000))
            adata = anndata.AnnData(x, cells.obs, cells.var)
            model.embed(adata, **OPTIONS)
            assert np.array_equal(adata.obsm["X_state"].compute(scheduler="sync"), want.embedding)


def test_again_and_into_a_file(cells, model, want, tmp_path):
    adata = lazy(cells, 5)
    model.embed(adata)
    model.embed(adata, **OPTIONS)  # what is there is se600m's own
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(again.obsm["X_state"], want.embedding)
    model.embed(again)
    adata.obsm["X_state"] = adata.obsm["X_state"].astype(np.float64)
    with pytest.raises(errors.DestinationExistsError, match="changed since"):
        model.embed(adata)


def test_blocks_on_a_gpu(cells, model, want):
    """As rapids-singlecell has them, with a stand-in for cupy's matrices."""

    class Matrix:
        __module__ = "cupyx.scipy.sparse._csr"

        def __init__(self, rows):
            self.rows, self.shape, self.dtype, self.ndim = rows, rows.shape, rows.dtype, 2

        def get(self):
            return self.rows

    adata = lazy(cells, 5)
    meta = sp.csr_matrix((0, 0), dtype=np.float32)
    adata.X = adata.X.map_blocks(Matrix, dtype=adata.X.dtype, meta=meta)
    model.embed(adata, **OPTIONS)
    assert np.array_equal(adata.obsm["X_state"].compute(), want.embedding)


# -- what is wrong -----------------------------------------------------------------------------


def test_unknown_chunks(cells):
    x = lazy(cells, 5).X[da.from_array(np.ones(13, bool), chunks=5)]
    with pytest.raises(errors.DataError, match="compute_chunk_sizes"):
        _lazy.matrix(x, "adata.X")


def test_genes_are_judged_at_once(cells, model):
    adata = lazy(cells, 5)
    adata.var_names = [f"nothing{i}" for i in range(3000)]
    with pytest.raises(errors.GeneCoverageError):
        model.embed(adata)
    assert not adata.obsm


def test_values_are_judged_block_by_block_or_before(cells, model, monkeypatch):
    monkeypatch.setattr(_lazy_embed, "_warned", set())
    cells.X = cells.X.astype(np.float32)
    cells.X[7, 11] = -1
    cells.X[11, 11] = -1
    adata = lazy(cells, 5)
    with pytest.raises(errors.SuspiciousDataError, match="2 negative values in 2 of 13 cells"):
        model.embed(adata, strict=True)
    assert not adata.obsm
    model.embed(adata)
    with pytest.warns(errors.DataWarning, match=r"cells \d+ to \d+: 1 negative value in 1 of \d cells") as seen:
        adata.obsm["X_state"].compute(scheduler="sync")
    assert len([w for w in seen if "negative" in str(w.message)]) == 1, "once, not for every block"


def test_a_value_that_is_not_finite_is_named_by_its_row(cells, model):
    cells.X = cells.X.astype(np.float32)
    cells.X[7, 11] = np.nan
    adata = lazy(cells, 5)
    model.embed(adata)
    with pytest.raises(errors.NotFiniteError, match=r"adata\.X\[7, 11\] \(gene"):
        adata.obsm["X_state"].compute(scheduler="sync")


def test_strict_has_the_whole_provenance(cells, model):
    adata = lazy(cells, 5)
    whole = model.compute(cells, **OPTIONS).provenance
    model.embed(adata, strict=True, **OPTIONS)
    assert whole | {"strict": True} == {name: adata.uns["X_state"][name] for name in whole}


def test_every_error_can_be_sent():
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.SE600MError):
            error = kind("what is wrong")
            error.add_note("more")
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.__notes__) == (kind, "what is wrong", ["more"])


# -- clusters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 4])
def test_workers(cells, model, want, client, n):
    workers = list(client.scheduler_info(n_workers=-1)["workers"])[:n]
    adata = lazy(cells, 2, 1000)
    model.embed(adata, **OPTIONS)
    got = client.compute(adata.obsm["X_state"], workers=workers, allow_other_workers=False).result()
    assert np.array_equal(got, want.embedding)


def test_errors_and_warnings_of_workers(cells, model, client):
    cells.X = cells.X.astype(np.float32)
    cells.X[7, 11] = -1
    adata = lazy(cells, 5)
    model.embed(adata)
    with pytest.warns(errors.DataWarning, match="cells 5 to 9: 1 negative value"):
        adata.obsm["X_state"].compute()
        _wait(lambda: client.get_events("warn"))
        time.sleep(0.5)  # for the client to be told
    cells.X[7, 11] = np.nan
    adata = lazy(cells, 5)
    model.embed(adata)
    with pytest.raises(errors.NotFiniteError, match=r"adata\.X\[7, 11\]"):
        adata.obsm["X_state"].compute()


def test_one_model_per_worker(cells, model, client):
    adata = lazy(cells, 3)
    model.embed(adata, **OPTIONS)
    adata.obsm["X_state"].compute()
    held = client.run(_held)
    assert sorted(held.values())[-1] == 1 and set(held.values()) <= {0, 1}


def _held():
    return len({id(opened) for opened in _opened._opened.values()})


def _wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError


class _Killer:
    """Kills the process that first uses it, once."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __call__(self, rows):
        self.act()
        return rows

    def act(self):
        try:
            os.close(os.open(os.path.join(self.folder, "killed"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_changes_nothing(cells, model, want, client, tmp_path):
    adata = lazy(cells, 2)
    adata.X = adata.X.map_blocks(_Killer(tmp_path), dtype=adata.X.dtype, meta=adata.X._meta)
    model.embed(adata, **OPTIONS)
    assert np.array_equal(adata.obsm["X_state"].compute(), want.embedding)
    assert (tmp_path / "killed").exists()


# -- devices -----------------------------------------------------------------------------------


def test_workers_of_a_host_have_different_numbers(tmp_path, monkeypatch):
    """Locks of one process exclude each other, too, so that it may stand for several."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files, opened = [], os.open

    def noted(*args):
        files.append(opened(*args))
        return files[-1]

    slot = _workers.slot.__wrapped__
    monkeypatch.setattr(os, "open", noted)
    try:
        assert [slot() for _ in range(3)] == [0, 1, 2]
        os.close(files[0])  # as the system does when a process ends
        assert slot() == 0
    finally:
        for file in files:
            with contextlib.suppress(OSError):
                os.close(file)


@pytest.mark.parametrize("shown", [None, "2,0,1", "0,1,2", "1,2,0"])
def test_devices_are_shared_out(monkeypatch, shown):
    """By which GPU a name stands for: dask-cuda shows them to every worker in another order."""
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    order = [0, 1, 2] if shown is None else [int(n) for n in shown.split(",")]
    seen = {"devices": [{"number": n} for n in range(3)]}
    monkeypatch.setattr(_workers._native, "describe_driver", lambda _: seen)
    monkeypatch.setattr(_workers._cuda_libraries, "driver", lambda: "")
    for number in range(5):
        monkeypatch.setattr(_workers, "slot", lambda number=number: number)
        for device, any_gpu in (("cuda", True), ("cuda:0", True), ("cuda:0,cuda:1,cuda:2", False)):
            kind, _, place = _workers.placed(device, any_gpu).partition(":")
            assert (kind, order[int(place)]) == ("cuda", number % 3)
        assert _workers.placed("cuda:1") == "cuda:1"
        assert _workers.placed("cpu", any_gpu=True) == "cpu"


def test_what_is_kept_is_let_go_of(monkeypatch):
    monkeypatch.setattr(_workers, "_IDLE_SECONDS", 0.05)
    made, closed = [], []

    class Thing:
        def __init__(self):
            made.append(self)

        def close(self):
            closed.append(self)

    kept = _workers.Kept()
    with kept.use("a", Thing) as one, kept.use("b", Thing):
        assert not closed
    with kept.use("a", Thing) as again:
        assert again is one and len(closed) == 1, "what nobody uses makes room"
    _wait(lambda: len(closed) == 2)
    with kept.use("a", Thing) as another:
        assert another is not one and len(made) == 3


# -- files -------------------------------------------------------------------------------------


@pytest.fixture
def file(cells, tmp_path):
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(_cluster.Cluster, "_step", lambda *_: 2)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_a_file(cells, model, want, cluster, tmp_path, small_steps, kind):
    cells.X = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": dense}[kind](cells.X)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    for name in ("out.h5ad", "shard.npz"):
        options = {"model": model, "scheduler": cluster.scheduler_address, **OPTIONS}
        if name == "shard.npz":
            options["shard"] = "2/2"
        done = se600m.embed_file(tmp_path / "cells.h5ad", tmp_path / name, **options)
        assert done.report["chunks"] > 2
    assert np.array_equal(anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_state"], want.embedding)
    assert np.array_equal(np.load(tmp_path / "shard.npz")["embedding"], want.embedding[6:])


def test_a_file_goes_on_elsewhere(file, model, want, cluster, tmp_path, small_steps, monkeypatch):
    """What a cluster has done is kept when the run ends, and the machine itself goes on with it."""
    keep = _cluster._resumable.JournalSink.keep

    def stops(sink, arrays, seconds):
        keep(sink, arrays, seconds)
        if sink._journal.done >= 4:
            raise KeyboardInterrupt

    options = {"model": model, **OPTIONS}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr(_cluster._resumable.JournalSink, "keep", stops)
        se600m.embed_file(file, tmp_path / "out.npy", scheduler=cluster.scheduler_address, **options)
    assert "4 of 13 rows are kept" in stopped.value.__notes__[0]
    done = se600m.embed_file(file, tmp_path / "out.npy", resume=True, **options)
    assert done.report["resumed_from"] == 4
    assert np.array_equal(np.load(tmp_path / "out.npy"), want.embedding)


def test_several_files(file, cells, model, want, cluster, tmp_path, monkeypatch):
    cells[::-1].copy().write_h5ad(tmp_path / "other.h5ad")
    files = [file, tmp_path / "other.h5ad"]
    options = {"model": model, "scheduler": cluster.scheduler_address, **OPTIONS}
    append = _cluster._journal.Journal.append

    def stops(journal, values):
        append(journal, values)
        if "n_cells" in values:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(_cluster._journal.Journal, "append", stops)
        se600m.embed_file(files, tmp_path / "out.npy", **options)
    with (
        monkeypatch.context() as patch,
        pytest.raises(errors.ResumeError, match="device was 'cpu' and is 'cuda'") as other,
    ):
        patch.setattr(_cluster.Cluster, "chosen", lambda _, opened, *__: opened.as_on("cuda", "fp32", "1.0"))
        se600m.embed_file(files, tmp_path / "out.npy", resume=True, **options)
    assert str(other.value).startswith(f"{str(file)!r}: ")
    assert "runtime was" in str(other.value) and "00001" not in str(other.value)
    se600m.embed_file(files, tmp_path / "out.npy", resume=True, **options)
    got = np.load(tmp_path / "out.npy")
    assert np.array_equal(got[:13], want.embedding)
    assert np.array_equal(got[13:], model.compute(cells[::-1].copy(), **OPTIONS).embedding)


def test_a_file_and_a_worker_that_is_killed(file, model, want, cluster, tmp_path, small_steps, monkeypatch):
    monkeypatch.setattr(_cluster, "_compute", functools.partial(_computed_and_killed, _Killer(tmp_path)))
    se600m.embed_file(file, tmp_path / "out.npy", model=model, scheduler=cluster.scheduler_address, **OPTIONS)
    assert (tmp_path / "killed").exists()
    assert np.array_equal(np.load(tmp_path / "out.npy"), want.embedding)


def _computed_and_killed(killer, part, first, last):
    """Compute rows in a worker, which dies before it can give them."""
    done = _cluster._compute(part, first, last)
    if first:
        killer.act()
    return done


def test_a_worker_that_sees_another_file(file, model, cluster, tmp_path, monkeypatch):
    identity = _cluster._resumable.identity
    monkeypatch.setattr(_cluster._resumable, "identity", lambda *a: identity(*a) | {"the input's size": 1})
    with pytest.raises(errors.DataError, match=r"the input's size is .*, not 1\. All workers must have the same file"):
        se600m.embed_file(file, tmp_path / "out.npy", model=model, scheduler=cluster.scheduler_address)
    monkeypatch.setattr(
        _cluster._resumable, "identity", lambda *a: {k: v for k, v in identity(*a).items() if k != "seed"}
    )
    with pytest.raises(errors.DataError, match=r"differently: seed is 0, not None\. All workers must have"):
        se600m.embed_file(file, tmp_path / "out.npy", model=model, scheduler=cluster.scheduler_address)
    assert not (tmp_path / "out.npy.partial").exists()


def test_wrong_schedulers(file, tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(errors.ClusterError, match=r"scheduler='tcp://127.0.0.1:9' does not answer"):
        se600m.embed_file(file, tmp_path / "out.npy", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(errors.OptionError, match="is not the address of a Dask scheduler such as"):
        se600m.embed_file(file, tmp_path / "out.npy", scheduler="127.0.0.1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(errors.MissingPackageError, match=r"pip install 'se600m-go\[dask\]'"):
        se600m.embed_file(file, tmp_path / "out.npy", scheduler="tcp://127.0.0.1:9")
    assert not list(tmp_path.glob("out*"))


def test_the_command(file, model, want, cluster, tmp_path):
    words = ["embed", str(file), str(tmp_path / "out.npy"), "--model", str(model.directory)]
    words += ["--scheduler", cluster.scheduler_address, "--fill", "independent", "--seed", "3"]
    command = [sys.executable, "-m", "se600m.cli", *words, "--expression", "counts"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy"), want.embedding)

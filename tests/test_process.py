"""Safe in a process with others: threads, kernels of notebooks, other libraries, and nothing that grows."""

import ctypes
import gc
import os
import queue
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import jupyter_client
import numpy as np
import pytest

import se600m
from conftest import IMMUNE
from jobs import Jobs
from se600m import _native, errors

EMBEDS = int(os.environ.get("SE600M_EMBEDS", "200"))
"""How often 8 cells are embedded to see that nothing grows; `make soak` does so 10,000 times."""


def run(code: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


# -- threads ---------------------------------------------------------------------------------------


def test_threads_on_one_model_and_on_several_give_what_one_thread_gives(random_model, immune):
    models = [random_model(nlayers=1).model, random_model(nlayers=3).model]
    of_threads = [models[i] for i in (0, 0, 0, 0, 0, 1, 1, 1)]
    parts = [immune[i : i + 3, ::8].copy() for i in range(8)]
    before = [part.X.copy() for part in parts]

    def work(model, part):
        sentences = model.tokenize(part)
        expressed = model.compute(part, threads=2)
        decoded = model.decode(expressed.embedding, model.genes[:5], dataset_embedding=expressed.dataset_embedding)
        cells = anndata.AnnData(obs=part.obs[[]], obsm={"X_state": expressed.embedding})
        nearest = se600m.nearest(cells, k=2)
        return sentences.gene_indices, expressed.embedding, expressed.dataset_embedding, decoded, nearest.distances

    want = [work(*given) for given in zip(of_threads, parts, strict=True)]
    together = threading.Barrier(8)

    def at_once(given):
        together.wait(60)
        return [work(*given) for _ in range(2)]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(at_once, zip(of_threads, parts, strict=True)))
    for alone, rounds in zip(want, got, strict=True):
        for again in rounds:
            assert all(np.array_equal(a, b) for a, b in zip(alone, again, strict=True))
    assert all((was != part.X).nnz == 0 for part, was in zip(parts, before, strict=True))


def test_a_model_that_is_closed_while_it_is_in_use_ends_its_work(random_model, immune, jobs: Jobs):
    made = random_model(nlayers=3)
    many = anndata.concat([immune] * 4, index_unique="-")
    model = se600m.load_model(made.folder)
    want = model.compute(many, batch_size=2).embedding
    jobs.interrupt(model.close)  # in the middle of the next job
    assert np.array_equal(model.compute(many, batch_size=2).embedding, want)
    assert jobs.interruptions == 1
    with pytest.raises(errors.ModelClosedError):
        model.compute(many)
    # By another thread, of whose model nobody else holds the memory.
    model, ended = se600m.load_model(made.folder), queue.Queue()
    jobs.interrupt(lambda: ended.put("in the middle"))

    def work(model):
        ended.put(model.compute(many, batch_size=2).embedding)

    worker = threading.Thread(target=work, args=(model,))
    worker.start()
    assert ended.get(timeout=60) == "in the middle"
    model.close()
    del model
    gc.collect()
    assert np.array_equal(ended.get(timeout=60), want)
    worker.join()


# -- a notebook ------------------------------------------------------------------------------------


def test_stop_in_a_jupyter_kernel(tmp_path, random_model):
    """The stop button of a notebook, over Jupyter's own protocol: the cell ends, and the next one runs."""
    slow = random_model(pad_length=2048, emsize=512, d_hid=512, nlayers=6).model.directory
    environment = os.environ | {"IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    manager = jupyter_client.KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()

    def executed(code, in_the_middle=None):
        """Run a cell to its end; give its reply and what it printed."""
        said, request = "", client.execute(textwrap.dedent(code), stop_on_error=False)
        while True:
            message = client.get_iopub_msg(timeout=100)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            said += content.get("text", "")
            if in_the_middle is not None and "in the middle" in said:
                act, in_the_middle = in_the_middle, None
                act()
            if content.get("execution_state") == "idle":
                break
        assert in_the_middle is None, said
        while (reply := client.get_shell_msg(timeout=100))["parent_header"]["msg_id"] != request:
            pass
        return reply["content"], said

    try:
        client.wait_for_ready(timeout=100)
        reply, _ = executed(f"""
            import anndata, se600m
            from se600m import _native
            adata = anndata.read_h5ad({str(IMMUNE)!r})[:16].copy()
            model = se600m.load_model({str(slow)!r})
            wait = _native._wait

            def watched(job, milliseconds):
                said = wait(job, milliseconds)
                if not '"done":0' in said and '"ended":false' in said:
                    print("in the middle", flush=True)
                    _native._wait = wait
                return said

            _native._wait = watched
        """)
        assert reply["status"] == "ok", reply
        reply, said = executed("model.embed(adata, batch_size=1)", manager.interrupt_kernel)
        assert (reply["status"], reply.get("ename")) == ("error", "KeyboardInterrupt"), said
        reply, said = executed("""
            print(list(adata.obsm), list(adata.uns))
            se600m.embed(adata[:3].copy(), copy=True).obsm["X_state"].shape
        """)
        assert reply["status"] == "ok", reply
        assert "[] []" in said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# -- other libraries -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def go_extension(tmp_path_factory):
    """A shared library of another Go program, with a runtime of its own."""
    if shutil.which("go") is None:
        pytest.skip("needs Go, for another Go extension")
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text("module other\n\ngo 1.26\n")
    (folder / "other.go").write_text(
        textwrap.dedent("""
        package main

        import "C"

        // Sum adds up in many goroutines, with garbage.
        //
        //export Sum
        func Sum(n int64) int64 {
            parts := make(chan int64)
            for i := range n {
                go func() { parts <- int64(len(make([]byte, 4096+i))) - 4096 }()
            }
            sum := int64(0)
            for range n {
                sum += <-parts
            }
            return sum
        }

        func main() {}
        """)
    )
    library = folder / "libother.so"
    command = ["go", "build", "-buildmode=c-shared", "-o", str(library), "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | {"GOFLAGS": ""})
    return library


# What a process may have loaded before se600m, or loads after it; each is used before, between and after embeddings.
OTHERS = """
import ctypes, faulthandler, signal, sys
import numpy as np
library, order, cells, model, *names = sys.argv[1:]

def load():
    used = []
    faulthandler.enable()
    import pyarrow, pyarrow.compute
    used.append(lambda: pyarrow.compute.sum(pyarrow.array([1, 2])).as_py() == 3)
    import onnxruntime
    used.append(lambda: "CPUExecutionProvider" in onnxruntime.get_available_providers())
    if "torch" in names:
        import torch
        used.append(lambda: float((torch.ones(256, 256) @ torch.ones(256, 256))[0, 0]) == 256)
    other = ctypes.CDLL(library)
    other.Sum.restype, other.Sum.argtypes = ctypes.c_int64, [ctypes.c_int64]
    used.append(lambda: other.Sum(1000) == 999 * 500)
    return used

used = load() if order == "before" else []
import anndata, se600m
adata = anndata.read_h5ad(cells)[:4].copy()
opened = se600m.load_model(model)
first = opened.compute(adata).embedding
used = used or load()
assert all(use() for use in used)
assert np.array_equal(opened.compute(adata).embedding, first)
assert all(use() for use in used)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    np.save(sys.stdout.buffer, first)
sys.stdout.flush()
"""


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("torch", [False, True], ids=["without torch", "with torch"])
def test_other_libraries_in_the_process(tmp_path, go_extension, random_model, immune, order, torch):
    """ONNX Runtime of its own package, pyarrow, faulthandler, another Go runtime, torch: in either order."""
    if torch:
        pytest.importorskip("torch", reason="needs torch, which nothing else here does")
    made = random_model(nlayers=1)
    arguments = [str(go_extension), order, str(IMMUNE), str(made.model.directory), *(["torch"] if torch else [])]
    done = subprocess.run([sys.executable, "-c", OTHERS, *arguments], capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (tmp_path / "first.npy").write_bytes(done.stdout)
    assert np.array_equal(np.load(tmp_path / "first.npy"), made.model.compute(immune[:4].copy()).embedding)


@pytest.mark.parametrize("order", ["before", "after"])
def test_faulthandler_still_tells_where_a_crash_was(order):
    """Go has handlers of its own for signals; a crash of other code still shows its Python traceback."""
    load, enable = "from se600m import _native; _native.version()", "faulthandler.enable()"
    lines = [enable, load] if order == "before" else [load, enable]
    done = run("\n".join(["import ctypes, faulthandler", *lines, "def crash(): ctypes.string_at(0)", "crash()"]))
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr
    assert "in crash" in done.stderr


# -- nothing that grows ----------------------------------------------------------------------------


class _Mallinfo(ctypes.Structure):
    """What mallinfo2 of the C library gives."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        ]
    ]


def c_memory() -> int:
    """Bytes that C and C++ code of this process holds: Go and small objects of Python have memory of their own."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("needs mallinfo2, which glibc has since 2.33")
    library.mallinfo2.restype = _Mallinfo
    gc.collect()
    told = library.mallinfo2()
    return int(told.uordblks + told.hblkhd)


def resident() -> int:
    """Bytes of memory that only this process has, and that are in RAM."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def counted() -> dict[str, int]:
    """Count what belongs to the process: files and threads."""
    return {what: len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task")}


def assert_no_more_than(most: dict[str, int]) -> None:
    """Assert that there are no more files and threads, once what has ended is gone: threads take a moment.

    Go's runtime starts a thread now and then where all others wait in C, and keeps it: a few of them are no leak.
    """
    most = most | {"task": most["task"] + 4}
    until, now = time.monotonic() + 20, counted()
    while any(n > most[what] for what, n in now.items()) and time.monotonic() < until:
        time.sleep(0.05)
        now = counted()
    assert all(n <= most[what] for what, n in now.items()), (most, now)


def test_embedding_many_times_takes_no_more_memory(random_model, immune):
    model, cells = random_model(nlayers=1, pad_length=64).model, immune[:8, ::16].copy()

    def embeds(n):
        for _ in range(n):
            model.embed(cells)

    embeds(50)  # what is kept for the next time, and Go's heap, have their size
    before, c_before, resident_before = counted(), c_memory(), resident()
    embeds(EMBEDS)
    grown, c_grown = resident() - resident_before, c_memory() - c_before
    if EMBEDS > 1000:
        print(f"\n{EMBEDS:,} embeds of 8 cells: {grown / 1e6:+.2f} MB resident, {c_grown / 1e6:+.3f} MB of C memory")
    assert c_grown < 1 << 20
    assert grown < 24 << 20, "Go's heap breathes by some MB; a leak of 3 KB a call would show in 10,000"
    assert_no_more_than(before)


def test_what_fails_or_is_stopped_leaves_nothing(random_model, immune, jobs: Jobs):
    made = random_model(nlayers=3)
    model, cells = made.model, immune[:8].copy()
    broken = cells.copy()
    broken.X.data[5] = np.nan

    def rounds(n):
        for _ in range(n):
            with pytest.raises(errors.NotFiniteError):
                model.embed(broken)
            with pytest.raises(errors.InternalError):
                _native.run("fail", {"goroutine": True})
            with pytest.raises(errors.ModelClosedError):
                _native.describe_model(12345)
            jobs.interrupt()
            with pytest.raises(KeyboardInterrupt):
                model.embed(immune, batch_size=1)
            other = se600m.load_model(made.folder, precision="int8")  # nobody else has it
            other.embed(cells, copy=True)
            other.close()
            del other

    rounds(2)
    before, c_before, resident_before = counted(), c_memory(), resident()
    rounds(4)
    assert c_memory() - c_before < 1 << 20
    assert resident() - resident_before < 24 << 20
    assert_no_more_than(before)

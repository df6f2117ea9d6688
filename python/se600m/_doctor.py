"""The self-check: what this machine has, and what is missing, with the way to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from se600m import _cache, _choices, _library, _models, _native, _runtimes, errors
from se600m._model import load_model


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, whether it is all right, what was found and what to do."""

    name: str
    ok: bool
    found: str


class Diagnosis(tuple[Check, ...]):
    """What :func:`doctor` found. Shows itself as a table."""

    __slots__ = ()

    @property
    def ok(self) -> bool:
        """Whether everything that embedding on the CPU needs is all right."""
        return all(check.ok for check in self)

    def __repr__(self) -> str:
        width = max(len(check.name) for check in self)
        return "\n".join(f"{'ok' if c.ok else '!!'}  {c.name:<{width}}  {c.found}" for c in self)


def doctor() -> Diagnosis:
    """Look at everything that embedding needs, and embed a sentence.

    Returns
    -------
    Diagnosis
        One :class:`Check` a thing; its ``ok`` tells whether embedding works here. A graphics processor that
        is not there is no fault: the line says what it would need.
    """
    return Diagnosis(_checks())


def _checks() -> Iterator[Check]:
    for name, look in (
        ("packages", _packages),
        ("processor", _processor),
        ("ONNX Runtime", _runtime),
        ("its Python packages", _runtime_packages),
        ("installed runtimes", _installed_runtimes),
        ("faster choices", _faster),
        ("cache", _cache_folder),
        ("default model", _default_model),
    ):
        yield _checked(name, look)
    for device in ("openvino", "cuda", "tensorrt"):
        yield Check(f"device {device}", True, _device(device))


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (errors.SE600MError, OSError) as error:
        return Check(name, False, str(error))


def _device(device: str) -> str:
    loaded, flavour = _native.runtime_library(), _library.needed(device)
    try:
        installed = _runtimes.find(flavour)
        if installed is not None and not (loaded and os.path.samefile(installed.library, loaded)):
            return f"{flavour} {installed.version} is installed; a process whose first model asks for it loads it"
        return _native.check_device(device, "auto")["device"]
    except (errors.SE600MError, OSError) as error:
        return f"not here: {error}"


def _packages() -> str:
    names = ("anndata", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"se600m-go {_native.version()}, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    model, flags = _choices.processor()
    useful = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16") if f in flags]
    return f"{model}, {_choices.cores()} cores to use, {' '.join(useful) or 'no AVX2'}"


def _runtime() -> str:
    version = _library.open_runtime()
    loaded = _native.runtime_library()
    return f"{version}, loaded {_library.origin(loaded)}: {loaded}"


def _runtime_packages() -> str:
    """Find the distributions that all write into ``site-packages/onnxruntime``, the last one winning."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        raise errors.RuntimeLibraryError(
            f"{', '.join(found)} are installed over each other, the last one won: uninstall all of them and install "
            "one again, or set SE600M_ORT_LIBRARY to the library that is meant"
        )
    return ", ".join(found) or "none installed"


def _installed_runtimes() -> str:
    found = []
    for runtime in _runtimes.installed():
        damaged = runtime.damage()
        if damaged is not None:
            raise errors.RuntimeLibraryError(
                f"{runtime.flavour}: {runtime.folder / damaged} is not what was installed: "
                f"`se600m runtime install {runtime.flavour}` mends it"
            )
        found.append(f"{runtime.flavour} {runtime.version} ({runtime.size / 1e6:,.1f} MB)")
    return ", ".join(found) or f"none; `se600m runtime install {'|'.join(_runtimes.PINNED)}`"


def _faster() -> str:
    """Tell what this machine could do that "auto", which is exact, does not choose."""
    return (
        ", ".join(_choices.faster_precisions())
        or "none: the processor has no instructions for 8-bit products or bfloat16"
    )


def _cache_folder() -> str:
    folder = _cache.cache_dir()
    reason = _cache.why_not_writable(folder)
    if reason is not None:
        return (
            f"{folder} can't be written ({reason}): each process converts its models anew, into a temporary folder. "
            "Set SE600M_CACHE to a folder that can be written"
        )
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if folder.exists() else 0
    return f"{folder}, {size / 1e6:,.1f} MB"


def _default_model() -> str:
    model = load_model(_models.DEFAULT, progress=False)
    n_genes = min(50, len(model.genes))
    indices = np.array([[model.cls_index, *range(n_genes)]] * 2, np.int32)
    values = np.tile(np.linspace(9, 1, n_genes + 1, dtype=np.float32), (2, 1))
    both, _ = model.embed_sentences(indices, values)
    one, _ = model.embed_sentences(indices[:1], values[:1], threads=1)
    if not np.isfinite(both).all() or not np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5):
        raise errors.InternalError(f"{model.name} gave an embedding that is not of unit length: please report it")
    if not (np.array_equal(both[0], both[1]) and np.array_equal(both[0], one[0])):
        raise errors.InternalError(f"{model.name} gave equal cells different embeddings: please report it")
    return f"{model.name} embeds, on {model.device}, {model.precision}"

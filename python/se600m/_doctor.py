"""The self-check: what embedding needs, what this machine has, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from se600m import _cache, _choices, _cuda_libraries, _files, _library, _models, _native, _runtimes, errors
from se600m._model import load_model


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name
        What was looked at.
    ok
        Whether embedding on the CPU can work as far as this is concerned.
    found
        What was found and, if something is missing, what to do.
    available
        Whether this can be used here: False for what is wrong, and for what is optional and missing, such as a GPU.
    """

    name: str
    ok: bool
    found: str
    available: bool = True


class Diagnosis(tuple[Check, ...]):
    """The checks of :func:`doctor`. It is displayed as a table."""

    __slots__ = ()

    @property
    def ok(self) -> bool:
        """Whether everything works that embedding on the CPU needs."""
        return all(check.ok for check in self)

    def to_json(self) -> str:
        """Give everything as JSON: ``ok``, the ``versions`` of packages, and the ``checks`` with their attributes."""
        checks = [asdict(check) for check in self]
        return json.dumps({"ok": self.ok, "versions": _versions(), "checks": checks}, indent=2)

    def __repr__(self) -> str:
        width = max(len(check.name) for check in self)
        return "\n".join(f"{'ok' if c.ok else '!!'}  {c.name:<{width}}  {c.found}" for c in self)


def doctor() -> Diagnosis:
    """Check everything that embedding needs, and embed a test sentence.

    Returns
    -------
    Diagnosis
        The checks, as :class:`Check` objects; its ``ok`` is True if embedding works on this machine. A missing
        graphics processor is not a failure: the line says what is needed to use one.

    Examples
    --------
    >>> se600m.doctor().ok
    True
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
    yield _checked("NVIDIA driver", _driver, optional=True)
    yield from _cuda()
    for device in ("openvino", "cuda", "tensorrt"):
        yield _checked(f"device {device}", partial(_device, device), optional=True)


def _checked(name: str, look: Callable[[], str], *, optional: bool = False) -> Check:
    """Look at something; what is ``optional`` is not needed on the CPU, so that nothing is wrong without it."""
    try:
        return Check(name, True, look())
    except (errors.SE600MError, OSError) as error:
        return Check(name, optional, f"not available: {error}" if optional else str(error), available=False)


def _device(device: str) -> str:
    loaded, flavour = _native.runtime_library(), _library.needed(device)
    installed = _runtimes.find(flavour)
    if installed is not None and not (loaded and os.path.samefile(installed.library, loaded)):
        return f"{flavour} {installed.version} is installed; it is loaded if the first model of a process uses it"
    return _native.check_device(device, "auto")["device"]


def _driver() -> str:
    """Describe NVIDIA's driver and its devices."""
    driver = _native.describe_driver(_cuda_libraries.driver())
    version = f"supports CUDA up to {driver['version'] // 1000}.{driver['version'] % 1000 // 10}"
    devices = [
        f"cuda:{d['number']} is a {d['name']}, {_files.size(d['memory'])}, compute capability {d['major']}.{d['minor']}"
        for d in driver["devices"]
    ]
    if driver["problem"]:
        raise errors.DeviceError("; ".join([driver["problem"], *devices]))
    return "; ".join([version, *devices])


def _cuda() -> Iterator[Check]:
    """Tell where each library of CUDA is, or what brings it."""
    try:
        found, missing = _cuda_libraries.find("tensorrt")
    except errors.SE600MError as error:
        yield Check("libraries of CUDA", True, f"not available: {error}", available=False)
        return
    if not found:
        none = "none; `se600m runtime install cuda` brings them, for NVIDIA GPUs"
        yield Check("libraries of CUDA", True, none, available=False)
        return
    lines = {}
    for one in found:
        version = "" if one.version is None else f" {one.version}"
        caution = f". {one.caution}" if one.caution else ""
        lines[one.library] = f"{one.library.soname}{version}, {one.path.parent} ({one.origin}){caution}"
    for library in _cuda_libraries.needed("tensorrt"):
        gone = [one for one in missing if one.library == library]
        found_or_way = _cuda_libraries.remedy(gone[0]) if gone else lines[library]
        yield Check(library.stem, True, found_or_way, available=not gone)


def _versions() -> dict[str, str]:
    names = ("anndata", "numpy", "scipy", "pandas")
    ours = {"se600m-go": _native.version(), "Python": platform.python_version()}
    return ours | {name: importlib.metadata.version(name) for name in names}


def _packages() -> str:
    return ", ".join(f"{name} {version}" for name, version in _versions().items())


def _processor() -> str:
    model, flags = _choices.processor()
    useful = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16") if f in flags]
    return f"{model}, {_choices.cores()} usable cores, {' '.join(useful) or 'no AVX2'}"


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
            f"{', '.join(found)} overwrite each other, and only the last one works: uninstall all of them and install "
            "one again, or set SE600M_ORT_LIBRARY to the library to use"
        )
    return ", ".join(found) or "none installed"


def _installed_runtimes() -> str:
    found = []
    for runtime in _runtimes.installed():
        damaged = runtime.damage()
        if damaged is not None:
            raise errors.RuntimeLibraryError(
                f"{runtime.flavour}: {runtime.folder / damaged} has changed since it was installed: "
                f"repair it with `se600m runtime install {runtime.flavour}`"
            )
        found.append(f"{runtime.flavour} {runtime.version} ({runtime.size / 1e6:,.1f} MB)")
    return ", ".join(found) or f"none; `se600m runtime install {'|'.join(_runtimes.PINNED)}`"


def _faster() -> str:
    """List the faster precisions of this machine, which "auto" (fp32) does not choose."""
    return (
        ", ".join(_choices.faster_precisions())
        or "none: the processor has no instructions for 8-bit products or bfloat16"
    )


def _cache_folder() -> str:
    folder = _cache.cache_dir()
    reason = _cache.why_not_writable(folder)
    if reason is not None:
        return (
            f"{folder} is not writable ({reason}): each process converts its models again, into a temporary folder. "
            "Set SE600M_CACHE to a writable folder"
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
        raise errors.InternalError(
            f"{model.name} returned an embedding that does not have unit length: please report this"
        )
    if not (np.array_equal(both[0], both[1]) and np.array_equal(both[0], one[0])):
        raise errors.InternalError(f"{model.name} returned different embeddings for equal cells: please report this")
    return f"{model.name} works, on {model.device} with {model.precision}; its checksum is {model.checksum}"

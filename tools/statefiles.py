"""Writes State checkpoints without torch: for the model in the package, and for tests.

A torch file is a zip of a pickle (protocol 2) and one entry of bytes for each storage.
"""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import yaml


@dataclass(frozen=True)
class BFloat16:
    """A tensor to store as bfloat16 (numpy has no such type): float32 values, cut off."""

    values: np.ndarray

    @property
    def bits(self) -> np.ndarray:
        """The upper halves of the float32 values."""
        return (np.ascontiguousarray(self.values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@dataclass(frozen=True)
class Row:
    """A row of a table that all rows share the storage of."""

    table: np.ndarray
    index: int


def _named(module: str, name: str) -> type:
    """Make a class that pickles as a name of torch."""
    return type(name, (), {"__module__": module})


_STORAGES = {
    dtype: _named("torch", name)
    for dtype, name in {
        "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage",
        "bfloat16": "BFloat16Storage",
    }.items()
}  # fmt: skip
_rebuild_tensor = _named("torch._utils", "_rebuild_tensor_v2")


@contextmanager
def _torch_modules() -> Iterator[None]:
    """Let torch be what is named here, installed or not: a Pickler looks a name up before it writes it."""
    modules: dict[str, ModuleType] = {}
    for named in (*_STORAGES.values(), _rebuild_tensor):
        module = modules.setdefault(named.__module__, ModuleType(named.__module__))
        setattr(module, named.__name__, named)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@dataclass(frozen=True, eq=False)
class _Storage:
    """The array that one or more tensors lie in, and what stands for it in the pickle."""

    array: np.ndarray
    id: tuple[str, type, str, str, int]


class _Pickler(pickle.Pickler):
    """Pickles plain containers, numbers, text, and numpy arrays as torch tensors. Storages stay outside."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(out, protocol=2)
        self.storages: dict[int, _Storage] = {}  # by the array's id, which stays its own as the array is kept

    def persistent_id(self, value: Any) -> Any:
        return value.id if isinstance(value, _Storage) else None

    def reducer_override(self, value: Any) -> Any:
        match value:
            case BFloat16():
                bits = value.bits
                return self._tensor(bits, bits.shape, kind="bfloat16")
            case Row():
                table = value.table
                return self._tensor(table, table.shape[1:], offset=value.index * table.shape[1])
            case np.ndarray():
                whole = np.ascontiguousarray(value)
                return self._tensor(whole, value.shape)
            case type() | OrderedDict():
                return NotImplemented  # as pickle does it
        raise TypeError(f"no pickle for {type(value)}")

    def _tensor(
        self, array: np.ndarray, shape: tuple[int, ...], *, kind: str | None = None, offset: int = 0
    ) -> tuple[type, tuple[Any, ...]]:
        storage = self.storages.get(id(array))
        if storage is None:
            named = _STORAGES[kind or array.dtype.name]
            storage = _Storage(array, ("storage", named, str(len(self.storages)), "cpu", array.size))
            self.storages[id(array)] = storage
        strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
        return _rebuild_tensor, (storage, offset, shape, strides, False, OrderedDict())


def save_torch(path: Path, value: Any, root: str = "archive") -> None:
    """Write what ``torch.save(value, path)`` would, byte for byte the same at every call."""
    program = io.BytesIO()
    pickler = _Pickler(program)
    with _torch_modules():
        pickler.dump(value)
    save_archive(path, program.getvalue(), [storage.array for storage in pickler.storages.values()], root)


def save_archive(path: Path, program: bytes, storages: Sequence[np.ndarray] = (), root: str = "archive") -> None:
    """Write a torch file of any pickle, with storages of the keys "0", "1", …."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, content: bytes | memoryview) -> None:
            archive.writestr(zipfile.ZipInfo(f"{root}/{name}"), content)

        write("data.pkl", program)
        write("byteorder", b"little")
        for i, array in enumerate(storages):
            write(f"data/{i}", memoryview(np.ascontiguousarray(array).reshape(-1)).cast("B") if array.size else b"")
        write("version", b"3\n")


@dataclass(frozen=True)
class Dims:
    """Dimensions of a State model."""

    n_genes: int
    token_dim: int
    emsize: int
    d_hid: int
    nhead: int
    nlayers: int
    output_dim: int
    pad_length: int
    cls_token_idx: int = 3
    num_datasets: int = 5


def random_state(
    dims: Dims,
    seed: int,
    *,
    dataset_correction: bool = True,
    encoding: str = "soft-bins",
    read_depth: bool = True,
    decoder: bool = True,
) -> dict[str, np.ndarray]:
    """Draw a state dict in the reference's names. LayerNorm scales and biases are random, too."""
    random = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    f32 = np.float32

    def linear(name: str, out: int, into: int, gain: float = 1.0) -> None:
        state[f"{name}.weight"] = random.standard_normal((out, into), f32) * f32(gain / np.sqrt(into))
        state[f"{name}.bias"] = random.standard_normal(out, f32) * f32(0.1)

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 1 + random.standard_normal(width, f32) * f32(0.2)
        state[f"{name}.bias"] = random.standard_normal(width, f32) * f32(0.1)

    def skip(name: str, width: int) -> None:
        linear(f"{name}.intermediate_dense", 2 * width, width)
        linear(f"{name}.dense", width, 2 * width)
        norm(f"{name}.layer_norm", width)

    d = dims.emsize
    state["cls_token"] = random.standard_normal((1, dims.token_dim), f32)
    linear("encoder.0", d, dims.token_dim, gain=4.0)
    norm("encoder.1", d)
    for i in range(dims.nlayers):
        prefix = f"transformer_encoder.layers.{i}."
        linear(prefix + "qkv_proj", 3 * d, d)
        linear(prefix + "out_proj", d, d)
        norm(prefix + "norm1", d)
        norm(prefix + "norm2", d)
        linear(prefix + "linear1", dims.d_hid, d)
        linear(prefix + "linear2", d, dims.d_hid)
    skip("decoder.0", d)
    linear("decoder.1", dims.output_dim, d)
    if decoder:
        wide = dims.output_dim + d + read_depth + (10 if dataset_correction else 0)
        skip("binary_decoder.0", wide)
        skip("binary_decoder.1", wide)
        linear("binary_decoder.2", 1, wide)
    if encoding == "soft-bins":
        state["bin_encoder.weight"] = random.standard_normal((10, d), f32)
        linear("count_encoder.0", 512, 1, gain=2.0)
        linear("count_encoder.2", 10, 512, gain=4.0)
    if dataset_correction:
        state["dataset_token"] = random.standard_normal((1, dims.token_dim), f32)
        linear("dataset_embedder", 10, dims.output_dim)
        linear("dataset_encoder.0", d, dims.output_dim)
        norm("dataset_encoder.2", d)
        linear("dataset_encoder.4", dims.num_datasets, d)
    for name in [n for n in state if n.startswith("encoder.")]:
        state["gene_embedding_layer." + name.removeprefix("encoder.")] = state[name]
    return state


def config_text(
    dims: Dims, *, dataset_correction: bool = True, encoding: str = "soft-bins", read_depth: bool = True
) -> str:
    """Write the configuration, in the reference's keys."""
    d = asdict(dims)
    model = {
        "name": "random", "batch_size": 8, "emsize": d["emsize"], "d_hid": d["d_hid"], "nhead": d["nhead"],
        "nlayers": d["nlayers"], "dropout": 0.1, "output_dim": d["output_dim"], "counts": encoding == "soft-bins",
        "rda": read_depth, "dataset_correction": dataset_correction, "num_downsample": 1,
    }  # fmt: skip
    if encoding == "scale":
        model["expression_encoding"] = "scale"
    config = {
        "model": model,
        "tokenizer": {"token_dim": d["token_dim"]},
        "dataset": {
            "pad_length": d["pad_length"], "cls_token_idx": d["cls_token_idx"], "P": 4, "N": 4, "S": 4,
            "num_train_workers": 0, "num_val_workers": 0, "current": "random",
            "random": {"num_datasets": d["num_datasets"]},
        },
        "embeddings": {
            "current": "random",
            "random": {"size": d["token_dim"], "num": d["n_genes"], "all_embeddings": None},
        },
        "loss": {"name": "tabular"},
        "experiment": {"name": "random"},
    }  # fmt: skip
    return yaml.safe_dump(config, sort_keys=False)


def save_folder(folder: Path, state: Mapping[str, np.ndarray], config: str, genes: Mapping[str, Any]) -> None:
    """Write model.safetensors, config.yaml and protein_embeddings.pt, as the released model has them."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, folder / "model.safetensors")
    (folder / "config.yaml").write_text(config)
    save_torch(folder / "protein_embeddings.pt", {str(gene): row for gene, row in genes.items()})


def save_ckpt(path: Path, state: Mapping[str, Any], dims: Dims, config: str, genes: Mapping[str, Any]) -> None:
    """Write a Lightning checkpoint as arc-state does, configuration and gene table inside."""
    hyper = {
        "token_dim": dims.token_dim, "d_model": dims.emsize, "nhead": dims.nhead, "d_hid": dims.d_hid,
        "nlayers": dims.nlayers, "output_dim": dims.output_dim, "dropout": 0.1,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    save_torch(
        path,
        {
            "epoch": 1, "global_step": 7, "pytorch-lightning_version": "2.5.0", "state_dict": OrderedDict(state),
            "optimizer_states": [], "lr_schedulers": [], "loops": {}, "callbacks": {},
            "hyper_parameters": hyper, "cfg_yaml": config,
            "protein_embeds_dict": {str(gene): row for gene, row in genes.items()},
        },
    )  # fmt: skip

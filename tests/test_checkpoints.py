"""From a checkpoint to a converted model: containers, the cache, wrong files, atomicity."""

import hashlib
import json
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import se600m
import statefiles
from conftest import RandomModel
from se600m import _models, errors


@pytest.fixture
def made(tmp_path) -> RandomModel:
    """A small checkpoint of its own for each test, to spoil."""
    return RandomModel(tmp_path / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)


def sentence(model):
    indices = np.array([[model.cls_index, *range(20)]], np.int32)
    return indices, np.linspace(9, 1, 21, dtype=np.float32)[None]


def test_containers_give_the_same_model(made, tmp_path):
    want = made.model.embed_sentences(*sentence(made.model))
    ckpt = tmp_path / "one" / "epoch=1.ckpt"
    statefiles.save_ckpt(ckpt, made.state, made.dims, made.config, made.rows)
    prefixed = tmp_path / "two" / "wrapped.ckpt"
    state = {f"model._orig_mod.{name}": value for name, value in made.state.items()}
    statefiles.save_ckpt(prefixed, state, made.dims, made.config, made.rows)
    for source in (made.folder / "model.safetensors", ckpt, ckpt.parent, prefixed):
        got = se600m.load_model(source).embed_sentences(*sentence(made.model))
        assert np.array_equal(got[0], want[0]), source
        assert np.array_equal(got[1], want[1]), source


def test_half_precision_tensors_are_read(made, tmp_path):
    want, _ = made.model.embed_sentences(*sentence(made.model))
    halves = {name: value.astype(np.float16) for name, value in made.state.items()}
    brain = {name: statefiles.BFloat16(value) for name, value in made.state.items()}
    for name, state, bound in (("half", halves, 2e-2), ("bfloat16", brain, 1e-1)):
        path = tmp_path / name / "x.ckpt"
        statefiles.save_ckpt(path, state, made.dims, made.config, made.rows)
        got, _ = se600m.load_model(path).embed_sentences(*sentence(made.model))
        assert 0 < np.abs(got - want).max() < bound


def test_hyper_parameters_win_over_the_config(made, tmp_path):
    """A Lightning checkpoint's nhead is what it was trained with."""
    path = tmp_path / "x.ckpt"
    statefiles.save_ckpt(path, made.state, replace(made.dims, nhead=2), made.config, made.rows)
    assert se600m.load_model(path).dimensions["nhead"] == 2
    assert made.model.dimensions["nhead"] == 4


def test_a_checkpoint_is_converted_once(made, monkeypatch):
    first = made.model.directory
    assert first.parent == _models.cache_dir() / "converted"
    monkeypatch.setattr(_models, "convert", None)  # must not be called
    assert se600m.load_model(made.folder).directory == first
    monkeypatch.undo()
    (made.folder / "config.yaml").write_text(made.config.replace("pad_length: 64", "pad_length: 32"))
    other = se600m.load_model(made.folder)
    assert other.directory != first, "a changed checkpoint is another model"
    assert other.dimensions["pad_length"] == 32


def test_converted_directory(made, tmp_path):
    (made.folder / "LICENSE.md").write_text("not for sale")
    (made.folder / "MODEL_ACCEPTABLE_USE_POLICY.md").write_text("be good")
    target = tmp_path / "converted"
    se600m.convert(made.folder, target, name="mine")
    config = json.loads((target / "config.json").read_text())
    assert config["name"] == "mine"
    assert config["dimensions"] == {
        "n_genes": 50, "token_dim": 24, "emsize": 32, "d_hid": 48, "nhead": 4, "nlayers": 2, "output_dim": 20,
        "dataset_dim": 10, "pad_length": 64, "cls_token_idx": 3,
    }  # fmt: skip
    for name, file in config["files"].items():
        content = (target / name).read_bytes()
        assert len(content) == file["size"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    for name, digest in config["source"]["sha256"].items():
        assert hashlib.sha256((made.folder / name).read_bytes()).hexdigest() == digest
    assert (target / "licence" / "LICENSE.md").read_text() == "not for sale"
    assert (target / "licence" / "MODEL_ACCEPTABLE_USE_POLICY.md").read_text() == "be good"
    assert "licence" in (target / "licence" / "CONVERTED.txt").read_text()
    assert (target / "genes.txt").read_text().split() == made.genes
    model = se600m.load_model(target)
    assert model.genes == made.genes
    assert np.array_equal(model.embed_sentences(*sentence(model))[0], made.model.embed_sentences(*sentence(model))[0])

    again = tmp_path / "again"
    se600m.convert(made.folder, again, name="mine")
    for file in sorted(target.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (again / file.relative_to(target)).read_bytes(), file


def test_nothing_but_a_converted_model_is_ever_replaced(made, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(errors.DestinationExistsError, match="mine"):
            se600m.convert(made.folder, mine, overwrite=overwrite)
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    target = tmp_path / "target"
    se600m.convert(made.folder, target, name="first")
    with pytest.raises(errors.DestinationExistsError):
        se600m.convert(made.folder, target, name="second")
    se600m.convert(made.folder, target, name="second", overwrite=True)
    assert json.loads((target / "config.json").read_text())["name"] == "second"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "mine", "target"], "no leftovers"


def truncated(made, path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil_weights(change):
    def spoil(made):
        state = dict(made.state)
        change(state)
        statefiles.save_folder(made.folder, state, made.config, made.rows)

    return spoil


def spoil_config(old, new):
    def spoil(made):
        assert old in made.config
        (made.folder / "config.yaml").write_text(made.config.replace(old, new))

    return spoil


def spoil_genes(rows):
    return lambda made: statefiles.save_torch(made.folder / "protein_embeddings.pt", rows(made))


def nan(state):
    weight = state["decoder.1.weight"] = state["decoder.1.weight"].copy()
    weight[3, 1] = np.nan  # element 3 × 32 + 1


SPOILED = [
    ("weights cut off", lambda m: truncated(m, m.folder / "model.safetensors"), errors.CheckpointError, "bytes"),
    (
        "weights are text",
        lambda m: (m.folder / "model.safetensors").write_text("hello, world"),
        errors.CheckpointError,
        "header",
    ),
    (
        "weights are empty",
        lambda m: (m.folder / "model.safetensors").write_bytes(b""),
        errors.CheckpointError,
        "0 bytes",
    ),
    (
        "a tensor is missing",
        spoil_weights(lambda s: s.pop("decoder.1.bias")),
        errors.CheckpointError,
        '"decoder.1.bias" is missing',
    ),
    (
        "a tensor has another shape",
        spoil_weights(lambda s: s.update({"encoder.1.bias": np.zeros(7, np.float32)})),
        errors.CheckpointError,
        r'"encoder.1.bias" has shape \[7\], \[32\]',
    ),
    ("a weight is NaN", spoil_weights(nan), errors.CheckpointError, '"decoder.1.weight": element 97 is NaN'),
    ("config disagrees", spoil_config("emsize: 32", "emsize: 64"), errors.CheckpointError, "model.emsize is 64.*32"),
    ("heads don't divide", spoil_config("nhead: 4", "nhead: 5"), errors.CheckpointError, "emsize 32 .*nhead 5"),
    ("no heads", spoil_config("nhead: 4", "other: 4"), errors.CheckpointError, "model.nhead is missing"),
    ("config is no yaml", spoil_config("model:", "model: ]"), errors.CheckpointError, "config: yaml"),
    ("config is missing", lambda m: (m.folder / "config.yaml").unlink(), errors.CheckpointError, "no config.yaml"),
    (
        "encoding unknown",
        spoil_config("counts: true", "counts: true\n  expression_encoding: fourier"),
        errors.CheckpointError,
        "fourier",
    ),
    (
        "no gene table",
        lambda m: (m.folder / "protein_embeddings.pt").unlink(),
        errors.CheckpointError,
        "gene table is missing",
    ),
    (
        "gene table cut off",
        lambda m: truncated(m, m.folder / "protein_embeddings.pt"),
        errors.CheckpointError,
        "truncated",
    ),
    ("gene table empty", spoil_genes(lambda m: {}), errors.CheckpointError, "gene table"),
    (
        "gene table of another width",
        spoil_genes(lambda m: {"A": np.ones(3, np.float32), "B": np.ones(3, np.float32)}),
        errors.CheckpointError,
        "gene table width is 3.*24",
    ),
    (
        "no weights",
        lambda m: (m.folder / "model.safetensors").unlink(),
        errors.ModelNotFoundError,
        r"no \.safetensors or \.ckpt",
    ),
]


@pytest.mark.parametrize("spoil, error, message", [pytest.param(*row[1:], id=row[0]) for row in SPOILED])
def test_spoiled_checkpoints(made, tmp_path, spoil, error, message):
    spoil(made)
    with pytest.raises(error, match=message):
        se600m.convert(made.folder, tmp_path / "converted")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"], "nothing is left behind"
    with pytest.raises(error, match=message):
        se600m.load_model(made.folder)
    assert not any("unfinished" in p.name for p in (_models.cache_dir() / "converted").glob("*"))


class Evil:
    def __init__(self, function, *args):
        self.what = (function, args)

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    "function, args, name",
    [(os.system, ("touch {}",), "system"), (eval, ("open({!r}, 'w')",), "eval"), (getattr, (os, "sep"), "getattr")],
    ids=["os.system", "eval", "getattr"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_wants_to_call_something_is_refused(made, tmp_path, function, args, name, protocol):
    sign = tmp_path / "executed"
    args = tuple(a.format(str(sign)) if isinstance(a, str) else a for a in args)
    path = tmp_path / "evil.ckpt"
    try:
        program = pickle.dumps({"state_dict": Evil(function, *args)}, protocol=protocol)
    except TypeError:  # a module as an argument can't be pickled
        program = b"\x80\x02cbuiltins\ngetattr\n(X\x02\x00\x00\x00osX\x03\x00\x00\x00septR."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(errors.UnsafePickleError, match=f"{name}.*not executed"):
        se600m.load_model(path)
    assert not sign.exists()


def test_torch_before_1_6_is_refused_by_name(tmp_path):
    path = tmp_path / "old.ckpt"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"rest")
    with pytest.raises(errors.CheckpointError, match=r"torch before 1\.6.*save it again"):
        se600m.load_model(path)


def test_not_a_checkpoint(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    with pytest.raises(errors.CheckpointError, match=r"neither a folder nor a \.safetensors or \.ckpt"):
        se600m.load_model(file)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(errors.ModelNotFoundError, match=r"no \.safetensors or \.ckpt"):
        se600m.load_model(empty)


def test_a_folder_with_several_checkpoints_lists_them(made, tmp_path):
    folder = tmp_path / "several"
    for name in ("a.ckpt", "b.ckpt"):
        statefiles.save_ckpt(folder / name, made.state, made.dims, made.config, made.rows)
    with pytest.raises(errors.ModelNotFoundError, match=r"a\.ckpt, b\.ckpt"):
        se600m.load_model(folder)


def change_config(**changes):
    def change(directory):
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        pytest.param(change_config(format_version=99), "format 99 is newer.*upgrade", id="newer format"),
        pytest.param(lambda d: (d / "config.json").write_text("{"), "not a converted model", id="config cut off"),
        pytest.param(
            lambda d: (d / "config.json").write_text("{}"), "no format_version", id="config of something else"
        ),
        pytest.param(lambda d: (d / "weights.bin").write_bytes(b"x"), "weights.bin has 1 bytes", id="weights cut off"),
        pytest.param(lambda d: (d / "dense.onnx").unlink(), "dense.onnx", id="graph missing"),
        pytest.param(lambda d: (d / "genes.txt").unlink(), "genes.txt", id="genes missing"),
        pytest.param(
            change_config(files={"../../etc/passwd": {"size": 1, "sha256": ""}}),
            "outside the directory",
            id="a path out",
        ),
    ],
)
def test_damaged_model_directories(made, tmp_path, change, message):
    target = tmp_path / "converted"
    se600m.convert(made.folder, target)
    change(target)
    with pytest.raises(errors.ModelError, match=message):
        se600m.load_model(target)


def test_the_layers_are_those_of_the_tensors(made, tmp_path):
    """Some public copies of SE-600M's config state another number."""
    (made.folder / "config.yaml").write_text(made.config.replace("nlayers: 2", "nlayers: 8"))
    model = se600m.load_model(made.folder)
    assert model.dimensions["nlayers"] == 2
    assert "config says 8 layers, the tensors have 2" in model.config["notes"][0]

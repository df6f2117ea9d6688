"""From a checkpoint to a converted model: containers, the cache, wrong files, atomicity."""

import hashlib
import json
import os
import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import errors_table
import se600m
import statefiles
from conftest import RandomModel
from se600m import _cache, _conversions, _models, errors


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
    assert first.parent == _cache.cache_dir() / "converted"
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


U8 = '{{"dtype": "U8", "shape": [{n}], "data_offsets": [{begin}, {end}]}}'


def two_bytes_each(*begins):
    """The header of tensors a, b, … of two bytes each, which begin at these bytes."""
    names = "abcdef"
    return "{" + ", ".join(f'"{names[i]}": {U8.format(n=2, begin=b, end=b + 2)}' for i, b in enumerate(begins)) + "}"


@pytest.mark.parametrize(
    "header, size, says",
    [
        (two_bytes_each(0, 2), 4, None),
        (two_bytes_each(2, 0), 4, None),
        (two_bytes_each(0, 2) + "     ", 4, None),
        (two_bytes_each(0, 0), 2, "overlap"),
        (two_bytes_each(0, 1), 3, "overlap"),
        (two_bytes_each(1), 3, "bytes 0 to 1 of 3 belong to no tensor"),
        (two_bytes_each(0, 3), 5, "bytes 2 to 3 of 5 belong to no tensor"),
        (two_bytes_each(0), 3, "bytes 2 to 3 of 3 belong to no tensor"),
        (two_bytes_each(0, 2), 3, "bytes 2 to 4 of 3: the file is cut off"),
        ('{"a": ' + U8.format(n=3, begin=0, end=2) + "}", 2, "2 bytes for shape"),
        ('{"a": ' + U8.format(n="4294967296, 4294967296", begin=0, end=0) + "}", 0, "shape"),
        ('{"a": ' + U8.format(n="null", begin=0, end=0) + "}", 0, "null is not a number"),
        ('{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0]}}', 0, "1 numbers, not a beginning and an end"),
        ('{"a": {"dtype": "U8", "data_offsets": [0, 1]}}', 1, "shape: it is missing"),
        ('{"a": {"dtype": "U8", "shape": [1], "shape": [1], "data_offsets": [0, 1]}}', 1, '"shape" occurs twice'),
        ('{"__metadata__": {"format": 1}}', 0, "__metadata__"),
        ("{} {}", 0, "there is other data"),
        ("", 0, "unexpected end"),
    ],
)
def test_what_the_safetensors_library_refuses_is_refused(made, header, size, says):
    path = made.folder / "model.safetensors"
    content = len(header).to_bytes(8, "little") + header.encode() + bytes(size)
    path.write_bytes(content)
    if says is None:  # a sound file: what is found fault with is that it is no State model
        assert all(tensor.tolist() == [0, 0] for tensor in safetensors.numpy.load(content).values())
        says = "is missing"
    else:
        with pytest.raises(safetensors.SafetensorError):
            safetensors.numpy.load(content)
    with pytest.raises(errors.CheckpointError, match=re.escape(says)):
        se600m.convert(made.folder, made.folder.parent / "converted")


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
    statefiles.save_archive(path, program)
    with pytest.raises(errors.UnsafePickleError, match=f"{name}.*not executed"):
        se600m.load_model(path)
    assert not sign.exists()


def test_one_of_several_checkpoints_by_its_name(made, tmp_path, caplog):
    """The name picks, model.safetensors is picked without one, and which it was is said."""
    folder = made.folder
    other = statefiles.random_state(made.dims, seed=99)
    statefiles.save_ckpt(folder / "epoch=4.ckpt", other, made.dims, made.config, made.rows)
    with caplog.at_level("INFO", logger="se600m"):
        first = se600m.load_model(folder)
        second = se600m.load_model(folder, checkpoint="epoch=4.ckpt")
    assert "checkpoint model.safetensors" in caplog.text
    assert "checkpoint epoch=4.ckpt" in caplog.text
    assert first.config["source"]["checkpoint"] == "model.safetensors"
    assert second.config["source"]["checkpoint"] == "epoch=4.ckpt"
    assert second.name == "epoch=4"
    assert "epoch=4.ckpt" in repr(se600m.info(second))
    assert not np.array_equal(first.embed_sentences(*sentence(first))[0], second.embed_sentences(*sentence(second))[0])
    alone = se600m.load_model(folder / "epoch=4.ckpt")
    assert np.array_equal(alone.embed_sentences(*sentence(alone))[0], second.embed_sentences(*sentence(second))[0])
    target = tmp_path / "converted"
    se600m.convert(folder, target, checkpoint="epoch=4.ckpt")
    assert json.loads((target / "config.json").read_text())["source"]["checkpoint"] == "epoch=4.ckpt"
    for name in ("epoch=5.ckpt", "../checkpoint/epoch=4.ckpt", "config.yaml"):
        with pytest.raises(errors.ModelNotFoundError, match=r"epoch=4\.ckpt, model\.safetensors"):
            se600m.load_model(folder, checkpoint=name)


def test_another_gene_table(made, tmp_path):
    table = np.random.default_rng(77).standard_normal((30, made.dims.token_dim), np.float32)
    other = tmp_path / "other.pt"
    statefiles.save_torch(other, {f"H{i}": statefiles.Row(table, i) for i in range(30)})
    model = se600m.load_model(made.folder, protein_embeddings=other)
    assert model.genes == [f"H{i}" for i in range(30)]
    assert made.model.genes == made.genes, "the two conversions are cached apart"
    assert se600m.load_model(made.folder, protein_embeddings=str(other))._opened is model._opened
    assert model.config["source"]["sha256"]["other.pt"] == hashlib.sha256(other.read_bytes()).hexdigest()


def test_an_older_conversion_in_the_cache_is_made_again(made, monkeypatch):
    now = made.model.directory
    assert made.model.config["format_version"] == _conversions.FORMAT
    with monkeypatch.context() as older:
        older.setattr(_conversions, "FORMAT", 1)
        old = now.with_name(f"checkpoint-{_conversions.key(made.model.config['source']['sha256'].values())}")
    shutil.copytree(now, old)
    errors_table.change_config(format_version=1)(old)
    again = se600m.load_model(made.folder)
    assert again.directory == now != old
    assert again.config["format_version"] > 1


def test_the_decoder_may_be_missing(made, tmp_path):
    plain = {name: value for name, value in made.state.items() if not name.startswith("binary_decoder")}
    statefiles.save_folder(tmp_path / "plain", plain, made.config, made.rows)
    model = se600m.load_model(tmp_path / "plain")
    assert "decoder" not in model.config
    assert "decoder.bin" not in model.config["files"]
    assert "decoder.bin" in made.model.config["files"]
    want = made.model.embed_sentences(*sentence(model))
    assert np.array_equal(model.embed_sentences(*sentence(model))[0], want[0])
    assert np.array_equal(model.gene_embeddings(), made.model.gene_embeddings())


def test_the_layers_are_those_of_the_tensors(made, tmp_path):
    """Some public copies of SE-600M's config state another number."""
    (made.folder / "config.yaml").write_text(made.config.replace("nlayers: 2", "nlayers: 8"))
    model = se600m.load_model(made.folder)
    assert model.dimensions["nlayers"] == 2
    assert "configuration has 8 layers, but the tensors have 2" in model.config["notes"][0]

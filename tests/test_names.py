"""Names of models, and where those are had that don't come with the package."""

import shutil

import pytest

import se600m
from conftest import RandomModel
from se600m import _models, errors

GET = r"se600m\.load_model\(\"SE-600M\"\) downloads it, once its licence is accepted$"


@pytest.fixture(autouse=True)
def no_hub(tmp_path, monkeypatch):
    """What this machine has downloaded does not matter."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def made(tmp_path):
    return RandomModel(tmp_path / "checkpoint", [f"G{i}" for i in range(50)], pad_length=64)


@pytest.mark.parametrize(
    "name",
    ["SE-600M", "arcinstitute/SE-600M", "se600m", "SE600M", "SE_600M", "state", "State", "arc-state", "SE",
     "https://huggingface.co/arcinstitute/SE-600M", "hf://arcinstitute/SE-600M",
     "https://huggingface.co/arcinstitute/SE-600M/tree/main", "models/arcinstitute/SE-600M"[7:]],
)  # fmt: skip
def test_every_name_of_se600m_stands_for_it(name):
    with pytest.raises(errors.LicenceError, match="SE-600M can be downloaded once you accept its licence"):
        se600m.load_model(name)


@pytest.mark.parametrize("name", ["tahoe", "arcinstitute/ST-Tahoe", "ST-SE-Replogle", "state_transition"])
def test_state_transition_models_are_told_apart(name):
    with pytest.raises(errors.ModelNotFoundError, match=f"State Transition .*does not embed cells.*{GET}"):
        se600m.load_model(name)


@pytest.mark.parametrize(
    "name, says",
    [
        ("se_mini", "did you mean 'se-mini'?"),
        ("SE-Mini", "did you mean 'se-mini'?"),
        ("semini", "did you mean 'se-mini'?"),
        ("se-mnii", "did you mean 'se-mini'?"),
        ("SE-60M", "did you mean 'SE-600M'?"),
        (
            "my-model",
            "is neither the name of a model ('se-mini', 'SE-600M') nor the path of a converted model or a checkpoint",
        ),
        ("someone/model", "Only SE-600M is downloaded by its name: .*`hf download someone/model --local-dir FOLDER`"),
        ("", "model='' is neither"),
        ("x" * 300, "is not a valid path: File name too long"),
    ],
)
def test_other_names(name, says):
    says = says.replace("?", r"\?").replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(errors.ModelNotFoundError, match=says):
        se600m.load_model(name)


def test_a_path_that_is_not_there(made):
    with pytest.raises(errors.ModelNotFoundError, match="has no 'chekpoint', but 'checkpoint'"):
        se600m.load_model(made.folder.parent / "chekpoint")
    with pytest.raises(errors.ModelNotFoundError, match=r"checkpoint' has no 'modle\.safetensors', but 'model"):
        se600m.load_model(made.folder / "modle.safetensors")


# -- what Hugging Face's tools leave on the disk -----------------------------------------------


@pytest.fixture
def in_hub(made, no_hub):
    """A snapshot of links to contents."""
    top = no_hub / "models--arcinstitute--SE-600M"
    snapshot = top / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    shutil.copytree(made.folder, top / "blobs")
    for path in (top / "blobs").iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    (top / "refs").mkdir()
    (top / "refs" / "main").write_text("0123abc")
    return top


def test_a_snapshot_by_any_of_its_paths(in_hub):
    snapshot = in_hub / "snapshots" / "0123abc"
    first = se600m.load_model(in_hub)
    assert first.name == "SE-600M"
    for path in (snapshot, snapshot / "model.safetensors"):
        assert se600m.load_model(path).name == "SE-600M"
    shutil.copytree(snapshot, in_hub / "snapshots" / "4567def", symlinks=True)
    assert se600m.load_model(in_hub).name == "SE-600M", "main says which"
    (in_hub / "refs" / "main").unlink()
    with pytest.raises(errors.ModelNotFoundError, match=r"with 2 snapshots \(0123abc, 4567def\): choose one of them"):
        se600m.load_model(in_hub)
    with pytest.raises(
        errors.ModelNotFoundError, match=r"the cache of Hugging Face: choose one .*models--arcinstitute--SE-600M"
    ):
        se600m.load_model(in_hub.parent)


def test_what_hugging_faces_tools_have_downloaded_is_used(in_hub, caplog):
    assert se600m.load_model("SE-600M").checksum == se600m.load_model(in_hub).checksum
    assert "which is revision 0123abc; this version of se600m would download 5a9a80f44f7c" in caplog.text


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2930000000\n"


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("model.safetensors", LFS, r"model\.safetensors' is a Git LFS pointer, .* \(2,930,000,000 bytes\): run `git"),
        ("protein_embeddings.pt", LFS, r"protein_embeddings\.pt' is a Git LFS pointer"),
        ("config.yaml", "<!DOCTYPE html>", r"config\.yaml' is a web page"),
        ("model.safetensors", "<html>Sign in", r"model\.safetensors' is a web page"),
        ("model.safetensors", "", r"model\.safetensors' is empty"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "how", [se600m.load_model, lambda f: se600m.convert(f, f.parent / "out")], ids=["load", "conv"]
)
def test_files_that_are_not_what_they_stand_for(made, name, content, says, how):
    (made.folder / name).write_text(content)
    with pytest.raises(errors.CheckpointError, match=says):
        how(made.folder)
    assert not (made.folder.parent / "out").exists()


def test_a_pointer_beside_the_weights_does_no_harm(made):
    (made.folder / "epoch16.ckpt").write_text(LFS)
    assert se600m.load_model(made.folder).name == "checkpoint"
    with pytest.raises(errors.CheckpointError, match=r"epoch16\.ckpt' is a Git LFS pointer"):
        se600m.load_model(made.folder, checkpoint="epoch16.ckpt")


def test_a_folder_too_high_up(made):
    with pytest.raises(
        errors.ModelNotFoundError, match=r"no \.safetensors or \.ckpt .*; there is one in '.*checkpoint'"
    ):
        se600m.load_model(made.folder.parent)


def test_a_config_of_hugging_face_makes_no_converted_model(made):
    (made.folder / "config.json").write_text('{"architectures": []}')
    assert se600m.load_model(made.folder).name == "checkpoint"
    assert not _models._is_converted(made.folder)
    assert _models._is_converted(se600m.load_model(made.folder).directory)

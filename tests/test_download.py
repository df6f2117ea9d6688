"""Models from Hugging Face: what is downloaded, what breaks on the way, and the licence that is accepted first."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

import hub_server
import se600m
from conftest import RandomModel
from se600m import _download, _licences, cli, errors
from se600m._published import SE600M

Disk = namedtuple("Disk", "total used free")
PARTS = {"model.safetensors", "config.yaml", "protein_embeddings.pt", "MODEL_LICENSE.md"}


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    made = RandomModel(tmp_path_factory.mktemp("repository") / "model", [f"G{i}" for i in range(50)], pad_length=64)
    (made.folder / "MODEL_LICENSE.md").write_text("non-commercial")
    (made.folder / "se600m_epoch16.ckpt").write_bytes(b"not needed" * 9_999)
    return made.folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache and a configuration of this test, and a machine without variables or tokens of Hugging Face."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SE600M_ACCEPT_LICENCE", raising=False)
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SE600M_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(_licences, "_accepted_here", set())
    return _download.folder(SE600M)


@pytest.fixture
def hub(repository, place, monkeypatch):
    with hub_server.running(hub_server.Hub(repository, SE600M.repository, SE600M.revision)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(_download, "_BLOCK", 4096)
        yield hub


@pytest.fixture
def waits(monkeypatch):
    """The waiting between tries, which takes no time here."""
    seen = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


def download(**options):
    return se600m.download("SE-600M", accept_licence=True, **options)


def run(hub, *words, **env):
    """Run the command in a process of its own, as a user would."""
    return subprocess.Popen(
        [sys.executable, "-m", "se600m.cli", *words], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"HF_ENDPOINT": hub.url} | env,
    )  # fmt: skip


# -- what is downloaded ------------------------------------------------------------------------


def test_by_its_name_it_is_downloaded_converted_and_found_again_without_its_files(hub, place, repository, immune):
    told = []
    done = download(tell=told.append)
    assert {path.name for path in place.iterdir()} == {*PARTS, "download.json"}
    assert not hub.gets("se600m_epoch16.ckpt"), "optimizer states are not needed"
    assert all((place / name).read_bytes() == (repository / name).read_bytes() for name in PARTS)
    assert "downloading" in told[0] and str(place) in told[0] and "conversion takes" in told[0]
    model = se600m.load_model("SE-600M")
    assert model.name == "SE-600M" and model.directory == done.resolve()
    assert model.checksum == se600m.load_model(repository).checksum
    assert SE600M.revision[:12] in model.config["source"]["name"]
    assert model.config["source"]["licences"] == ["MODEL_LICENSE.md"]

    asked = len(hub.asked)
    assert download(delete_source=True) == done
    assert [path.name for path in place.iterdir()] == ["download.json"]
    assert se600m.load_model("arcinstitute/SE-600M").directory == done.resolve()
    assert len(hub.asked) == asked, "nothing is asked of the hub for what is here"
    shutil.rmtree(done)
    assert se600m.load_model("SE-600M").checksum == model.checksum
    assert len(hub.gets("model.safetensors")) == 2, "with neither the files nor the conversion it is downloaded again"


def test_load_model_downloads_with_the_licence_accepted(hub, place):
    assert se600m.load_model("SE-600M", accept_licence=True).name == "SE-600M"
    assert place.is_dir()


def test_another_revision_is_resolved_to_its_commit(hub, place):
    hub.commit = "ab" * 20
    folder = download(revision="main", convert=False)
    assert folder == _download.folder(SE600M, hub.commit) != place
    assert json.loads((folder / "download.json").read_text())["revision"] == hub.commit
    with pytest.raises(errors.DownloadError, match=r"the hub gives abab.* where 5a9a"):
        download()


def test_what_lacks_a_file_is_named(hub):
    del hub.files["config.yaml"]
    with pytest.raises(errors.DownloadError, match=r"SE-600M at 5a9a\w+ has no config.yaml"):
        download()


def test_a_snapshot_of_hugging_faces_tools_is_used_and_left_alone(repository, place, tmp_path):
    snapshot = tmp_path / "hf" / "hub" / "models--arcinstitute--SE-600M" / "snapshots" / SE600M.revision
    shutil.copytree(repository, snapshot)
    model = se600m.load_model("SE-600M")  # whoever downloaded it was shown its terms
    assert model.name == "SE-600M"
    said = []
    download(delete_source=True, tell=said.append)
    assert said == [f"{snapshot} is in Hugging Face's own cache, which other programs may use: it was not deleted"]
    assert {path.name for path in snapshot.iterdir()} >= PARTS
    shutil.rmtree(snapshot)
    assert se600m.load_model("SE-600M").directory == model.directory


# -- what breaks -------------------------------------------------------------------------------


def test_a_line_that_breaks_goes_on_where_it_broke(hub, place, waits, repository):
    hub.faults["model.safetensors"] += [hub_server.broken_off] * 2
    download(convert=False)
    first, *others = hub.gets("model.safetensors")
    assert "Range" not in first and len(others) == 2
    starts = [int(headers["Range"].removeprefix("bytes=").removesuffix("-")) for headers in others]
    assert 0 < starts[0] < starts[1]
    assert (place / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()


def test_what_has_arrived_is_kept_for_the_next_run(hub, place, waits, repository, monkeypatch):
    monkeypatch.setattr(_download, "_TRIES", 1)
    hub.faults["model.safetensors"] += [hub_server.broken_off] + [hub_server.status(503)] * 20
    with pytest.raises(errors.DownloadError, match=r"could not be downloaded: .*What has arrived is kept"):
        download()
    kept = (place / "model.safetensors.part").stat().st_size
    assert 0 < kept < len(hub.files["model.safetensors"])
    hub.faults.clear()
    told = []
    download(convert=False, tell=told.append)
    assert hub.gets("model.safetensors")[-1]["Range"] == f"bytes={kept}-"
    assert "are here)" in told[0]
    assert (place / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml"])
def test_wrong_bytes_are_removed_and_another_try_gets_the_right_ones(hub, place, name, repository):
    content = bytearray(hub.files[name])
    content[100] ^= 1
    hub.sent[name] = bytes(content)
    with pytest.raises(errors.DownloadError, match=f"{name} of arcinstitute/SE-600M has arrived with a wrong checksum"):
        download()
    assert not list(place.glob(f"{name}*")) and not (place / "download.json").exists()
    hub.sent[name] = hub.files[name]
    download(convert=False)
    assert (place / name).read_bytes() == (repository / name).read_bytes()


@pytest.mark.parametrize("where", ["", "model.safetensors"])
@pytest.mark.parametrize(
    "answers, says",
    [
        (
            [hub_server.status(403, X_Error_Code="GatedRepo")],
            r"some accounts only \(status 403\).*`hf auth login`.*HF_TOKEN",
        ),
        ([hub_server.status(401)], r"some accounts only \(status 401\)"),
        ([hub_server.status(404)], r"was not found \(status 404\)"),
        ([hub_server.status(429, Retry_After="7200")] * 20, r"too many requests.*try again after 7200 s"),
        ([hub_server.status(502)] * 20, "the hub answers with status 502: try again later"),
    ],
    ids=["gated", "unauthorised", "missing", "busy", "broken"],
)
def test_what_the_hub_refuses_is_said_in_one_line(hub, place, waits, where, answers, says):
    hub.faults[where] += answers
    with pytest.raises(errors.DownloadError, match=f"^SE-600M could not be downloaded: .*{says}") as raised:
        download()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("where", ["", "model.safetensors"])
def test_a_busy_hub_is_asked_again_after_as_long_as_it_says(hub, place, waits, where):
    hub.faults[where] += [hub_server.status(429, Retry_After="3"), hub_server.status(503)]
    download(convert=False)
    assert waits == [3.0, 1.0]
    assert (place / "download.json").exists()


def test_a_hub_that_sends_all_of_it_again(hub, place, waits, repository):
    hub.faults["model.safetensors"] += [hub_server.broken_off, hub_server.from_the_beginning]
    download(convert=False)
    assert (place / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()


def test_more_bytes_than_are_listed(hub, place, repository):
    hub.sent["model.safetensors"] += b"more" * 2000
    with pytest.raises(errors.DownloadError, match=r"sends more than the .* bytes that the hub lists"):
        download()
    hub.sent["model.safetensors"] = hub.files["model.safetensors"]
    download(convert=False)


def test_a_line_that_says_nothing_is_given_up_after_the_timeout(hub, place, waits, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(_download, "_TRIES", 1)
    hub.faults["model.safetensors"] += [hub_server.silent] * 20
    with pytest.raises(errors.DownloadError, match="the connection failed"):
        download()


def test_a_hub_that_is_not_there(place, waits, hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(errors.DownloadError, match=r"the connection failed .*try again"):
        download()


def test_a_disk_that_is_too_small_is_named_before_anything_is_downloaded(hub, place, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9 - 99_000, 99_000))
    with pytest.raises(errors.DestinationError, match=r"SE-600M needs [\d.]+ kB, but only 99.0 kB .* SE600M_CACHE"):
        download()
    assert not hub.gets("model.safetensors")


def test_a_cache_that_cant_be_written(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SE600M_CACHE", str(tmp_path / "file"))
    with pytest.raises(errors.DestinationError, match=r"is not writable .*set SE600M_CACHE"):
        download()


def test_offline_nothing_is_asked(hub, place, monkeypatch):
    _licences.accept(SE600M)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.DownloadError, match="is not on this machine, and HF_HUB_OFFLINE"):
        se600m.load_model("SE-600M")
    assert hub.asked == []


# -- the licence -------------------------------------------------------------------------------


def test_nothing_is_downloaded_before_the_licence_is_accepted(hub, immune):
    for refused in (
        lambda: se600m.load_model("SE-600M"),
        lambda: se600m.embed(immune, model="SE-600M"),
        lambda: se600m.download("SE-600M"),
    ):
        with pytest.raises(errors.LicenceError) as raised:
            refused()
        for way in (*SE600M.addresses, "`se600m download SE-600M`", "accept_licence", "SE600M_ACCEPT_LICENCE"):
            assert way in str(raised.value)
    assert hub.asked == [] and not _licences.record_file().exists()


def test_acceptance_is_remembered_with_its_date_until_the_terms_change(place, monkeypatch):
    _licences.accept(SE600M)
    record = json.loads(_licences.record_file().read_text())["SE-600M"]
    assert record["licence"] == SE600M.licence and record["revision"] == SE600M.revision
    assert record["accepted"].startswith("20")
    monkeypatch.setattr(_licences, "_accepted_here", set())
    assert _licences.accepted(SE600M)
    _licences.accept(SE600M)
    assert json.loads(_licences.record_file().read_text())["SE-600M"] == record, "the first date stays"
    for spoilt in (json.dumps({"SE-600M": record | {"revision": "0" * 40}}), json.dumps({"SE-600M": 1}), "[1]", "{"):
        monkeypatch.setattr(_licences, "_accepted_here", set())
        _licences.record_file().write_text(spoilt)
        assert not _licences.accepted(SE600M)


@pytest.mark.parametrize("value, accepted", [("SE-600M", True), ("other, SE-600M", True), ("1", False), ("", False)])
def test_the_variable_names_the_model(place, monkeypatch, value, accepted):
    monkeypatch.setenv("SE600M_ACCEPT_LICENCE", value)
    assert _licences.accepted(SE600M) is accepted


def test_where_nothing_can_be_written_acceptance_counts_in_this_process(place, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SE600M_CONFIG", str(tmp_path / "file"))
    _licences.accept(SE600M)
    assert _licences.accepted(SE600M) and "can't be remembered" in caplog.text


@pytest.mark.parametrize("answer", ["y", "n"])
def test_at_a_terminal_it_is_shown_and_asked(hub, place, monkeypatch, answer):
    monkeypatch.setattr("se600m._cli_models.sys", type("Sys", (), {"stdin": type("In", (), {"isatty": lambda: True})}))
    ended = CliRunner().invoke(cli.app, ["download", "SE-600M", "--no-convert"], input=f"{answer}\n")
    assert "Do you accept both?" in ended.output
    assert isinstance(ended.exception, errors.LicenceError) == (answer == "n")
    assert place.exists() == (answer == "y")


# -- the command -------------------------------------------------------------------------------


def test_the_command_with_another_endpoint_and_a_token(hub, place):
    ended = run(hub, "download", "SE-600M", "--accept-licence", "--delete-source", HF_TOKEN="hf_secret")
    out, said = ended.communicate(timeout=120)
    assert ended.returncode == 0 and out == "", said
    for part in (*SE600M.addresses, "downloading", "deleted the downloaded files", "--model SE-600M"):
        assert part in said
    assert {headers.get("authorization", headers.get("Authorization")) for path, headers in hub.asked} >= {
        "Bearer hf_secret"
    }
    listed = run(hub, "models")
    out, said = listed.communicate(timeout=120)
    assert listed.returncode == 0, said
    assert "se-mini" in out and "SE-600M" in out and "accepted" in out and "converted   " in out
    assert "  downloaded  " not in out


def test_the_command_without_acceptance_names_its_flags(hub, place):
    ended = run(hub, "download", "SE-600M")
    _, said = ended.communicate(timeout=120)
    assert ended.returncode == 1 and hub.asked == []
    assert said.splitlines()[-1].startswith("error: SE-600M can be downloaded once") and "--accept-licence" in said
    assert "accept_licence=" not in said


def test_a_command_that_is_ended_goes_on_with_the_same_command(hub, place):
    def interrupts(handler, content):
        hub_server.broken_off(handler, content)
        ended.send_signal(signal.SIGTERM)

    hub.faults["model.safetensors"].append(interrupts)
    words = ["download", "SE-600M", "--accept-licence", "--no-convert"]
    ended = run(hub, *words)
    _, said = ended.communicate(timeout=120)
    assert ended.returncode == 128 + signal.SIGTERM, said
    assert said.splitlines()[-2:] == [
        f"stopped; what has arrived of SE-600M is kept in {place}",
        f"  se600m {' '.join(words)}",
    ]
    assert not (place / "model.safetensors").exists()
    download(convert=False)
    assert (place / "download.json").exists()


def test_two_processes_at_once_download_once_and_both_end_well(hub, place):
    both = [run(hub, "download", "SE-600M", "--accept-licence") for _ in range(2)]
    for ended in both:
        _, said = ended.communicate(timeout=120)
        assert ended.returncode == 0, said
    assert len(hub.gets("model.safetensors")) == 1


def test_names_and_options_that_are_wrong(place):
    with pytest.raises(errors.ModelNotFoundError, match="name='se-mini' can't be downloaded: give 'SE-600M'"):
        se600m.download("se-mini")
    with pytest.raises(errors.OptionError, match="delete_source=True, but convert=False"):
        se600m.download("SE-600M", convert=False, delete_source=True)
    with pytest.raises(errors.OptionError, match="accept_licence"):
        se600m.download("SE-600M", accept_licence="yes")


def test_the_command_speaks_of_its_own_flags_before_it_asks_for_anything(place, told):
    status, said = told("download", "SE-600M", "--no-convert", "--delete-source")
    assert status == 1
    assert said.splitlines()[0].startswith("error: --delete-source, but --no-convert: nothing would be left")
    assert len(said.splitlines()) == 1, "no licence is shown first"


def test_what_is_listed_before_anything_is_here(place):
    ended = CliRunner().invoke(cli.app, ["models"])
    assert ended.exit_code == 0
    assert "not on this machine: `se600m download SE-600M`" in ended.output and "not accepted yet" in ended.output

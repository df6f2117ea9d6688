"""Published models: what of them is on this machine, and how the rest is downloaded.

Files go to ``downloads/NAME-REVISION`` in the cache. Sessions, accounts, endpoints, proxies and timeouts are those of
huggingface_hub. Its own downloads start a file anew in every process, though, and compare its size only. So parts are
kept here, and every file is checked against the checksum that the hub lists.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from se600m import _cache, _conversions, _files, _fingerprints, _hub, _licences, _native, _progress, errors
from se600m._log import log
from se600m._published import Published

_TRIES = 5
"""How often a file may break off without a byte having arrived."""
_LONGEST_WAIT = 60.0
"""Seconds that the hub may ask to wait; if it asks for more, that is said instead."""
_BLOCK = 1 << 20
"""Bytes that are written at a time, and at most lost when the line breaks."""
_PART = ".part"
_MANIFEST = "download.json"
_SMALL = 1 << 20
_TERMS = re.compile(r"LICEN[CS]E|NOTICE|ACCEPTABLE_USE|README|MODEL_CARD", re.IGNORECASE)
"""Files that conversion keeps with the weights."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def folder(model: Published, revision: str | None = None) -> Path:
    """Where the files of a model are downloaded to."""
    return _cache.cache_dir() / "downloads" / f"{model.name}-{(revision or model.revision)[:12]}"


# -- what is here ------------------------------------------------------------------------------


def files(model: Published) -> Path | None:
    """Find the checkpoint of a model on this machine: downloaded by this package, or by Hugging Face's own tools."""
    if _complete(folder(model)):
        return folder(model)
    found = _hub.in_hub_cache(model)
    if found is not None and found.name != model.revision:
        log.warning(
            "%s is read from %s, which is revision %s; this version of se600m would download %s",
            model.name, found, found.name[:12], model.revision[:12],
        )  # fmt: skip
    return found


def converted(model: Published) -> Path | None:
    """Find the conversion of what was downloaded, whether or not the download is still there."""
    source = _source(folder(model), model)
    return None if source is None else _conversions.find(source)


def _source(place: Path, model: Published) -> _conversions.Source | None:
    manifest = _manifest(place)
    if manifest is None or not set(model.files) <= set(manifest["files"]):
        return None
    files = tuple((name, str(manifest["files"][name]["sha256"])) for name in model.files)
    return _conversions.Source(model.name, place.name, files)


def _complete(place: Path) -> bool:
    manifest = _manifest(place)
    with contextlib.suppress(OSError):
        return manifest is not None and all(
            (place / name).stat().st_size == file["size"] for name, file in manifest["files"].items()
        )
    return False


def _manifest(place: Path) -> dict[str, Any] | None:
    """Read what a finished download consists of. It stays when the files are deleted."""
    try:
        manifest = json.loads((place / _MANIFEST).read_text())
        return {"revision": str(manifest["revision"]), "files": dict(manifest["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def size_here(model: Published) -> int:
    """Bytes of what has been downloaded of a model, parts included."""
    return sum(path.stat().st_size for path in folder(model).glob("*") if path.name != _MANIFEST)


def delete(place: Path) -> bool:
    """Delete the files of a download, but not what says which conversion they became; tells if there were any.

    What Hugging Face's own tools have downloaded is left to them.
    """
    found = False
    if place.parent != _cache.cache_dir() / "downloads":
        return False
    for path in place.glob("*"):
        if path.name != _MANIFEST:
            path.unlink(missing_ok=True)
            found = True
    return found


# -- what is not -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A file as the hub lists it: with a SHA-256 if it is large, else with git's name of its content."""

    name: str
    size: int
    sha256: str | None
    blob: str | None

    def matches(self, path: Path, sha256: str) -> bool:
        if self.sha256 is not None:
            return sha256 == self.sha256
        content = path.read_bytes()
        return self.blob in (None, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


def check(model: Published) -> None:
    """Make sure, before any work, that a model may be downloaded.

    Raises
    ------
    LicenceError, DownloadError
    """
    _licences.require(model)
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise errors.DownloadError(
            f"{model.name} is not on this machine, and HF_HUB_OFFLINE forbids to download it: unset that, or copy the "
            "files from another machine and give their folder"
        )


def fetch(
    model: Published,
    revision: str | None = None,
    progress: bool | None = None,
    tell: Callable[[str], None] = log.info,
    convert: bool = True,
) -> Path:
    """Download the files of a model; what is here already is not downloaded again.

    Parameters
    ----------
    model
        The model; its licence must have been accepted.
    revision
        Another revision than the model's own: a commit, a branch or a tag.
    progress
        Show a progress bar; by default in notebooks and terminals.
    tell
        Called with lines for the user: how much is downloaded, and where to.
    convert
        Whether there must be room for the conversion, too.

    Returns
    -------
    Path
        The folder with the files.

    Raises
    ------
    LicenceError, DownloadError, DestinationError
        Parts of files are kept, and the next call goes on from there; a file with a wrong checksum is removed.
    """
    wanted = revision or model.revision
    if _COMMIT.fullmatch(wanted) and _complete(folder(model, wanted)):
        return folder(model, wanted)
    check(model)
    root = folder(model, wanted).parent
    if (reason := _cache.why_not_writable(root)) is not None:
        raise errors.DestinationError(f"{str(root)!r} is not writable ({reason}): set SE600M_CACHE to another folder")
    with _explained(model, wanted):
        commit, listed = _listed(model, wanted)
    place = folder(model, commit)
    with _cache.locked(root, place.name, f"the download of {model.name}"):
        if not _complete(place):  # by another process meanwhile
            _get_all(model, commit, listed, place, progress, tell, convert)
    return place


def _get_all(
    model: Published,
    commit: str,
    listed: list[_File],
    place: Path,
    progress: bool | None,
    tell: Callable[[str], None],
    convert: bool,
) -> None:
    place.mkdir(parents=True, exist_ok=True)
    total = sum(file.size for file in listed)
    done = sum(_there(place, file) for file in listed)
    weights = max(file.size for file in listed)
    tell(
        f"{model.name}: downloading {_files.size(total - done)}"
        + (f" ({_files.size(done)} of {_files.size(total)} are here)" if done else "")
        + f" into {place}"
        + (f"; its conversion takes up to {_files.size(weights)} more" if convert else "")
    )
    _need_room(place, total - done + (weights if convert else 0), model)
    with (
        _interrupted(model, place),
        _progress.bar(progress, f"Downloading {model.name}", total, unit="B", done=done) as update,
    ):
        for file in listed:
            before = done - _there(place, file)
            with _explained(model, commit), _on_disk(place):
                _get(model, commit, file, place, _after(update, before, total))
    paths = [place / file.name for file in listed]
    with _on_disk(place):
        _note(model, commit, dict(zip(paths, _fingerprints.sha256_of(paths), strict=True)))


def _note(model: Published, commit: str, sums: dict[Path, str]) -> None:
    """Note what a model at a commit consists of, by which its conversion is found when these files are gone."""
    noted = {
        "model": model.name,
        "repository": model.repository,
        "revision": commit,
        "files": {path.name: {"size": path.stat().st_size, "sha256": digest} for path, digest in sums.items()},
    }
    with _files.appearing(folder(model, commit) / _MANIFEST) as draft:
        draft.write_text(json.dumps(noted, indent=2) + "\n")


def note(model: Published, place: Path, sums: dict[Path, str]) -> None:
    """Note what a snapshot in Hugging Face's cache consists of; where nothing can be written, nothing is."""
    if place.name == model.revision and _manifest(folder(model)) is None:
        with contextlib.suppress(OSError):
            _note(model, place.name, sums)


def _after(update: _native.Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda n: update(before + n, total)


def _there(place: Path, file: _File) -> int:
    """Count the bytes of a file that are here."""
    for path in (place / file.name, place / f"{file.name}{_PART}"):
        if path.exists():
            return path.stat().st_size if path.stat().st_size <= file.size else 0
    return 0


def _need_room(place: Path, n_bytes: int, model: Published) -> None:
    if (short := _files.too_little_room(place, n_bytes)) is not None:
        raise errors.DestinationError(
            f"{model.name} needs {short}: free some space, or set SE600M_CACHE to a folder on another disk"
        )


def _listed(model: Published, revision: str) -> tuple[str, list[_File]]:
    """Ask the hub for the commit, and for the size and checksum of each file that is needed."""
    from huggingface_hub import HfApi, constants

    info: Any = _tried(
        lambda: HfApi(library_name="se600m").model_info(
            model.repository, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    )
    if not _COMMIT.fullmatch(info.sha or ""):
        raise errors.DownloadError(f"{model.repository} at {revision}: the hub names no commit ({info.sha!r})")
    if _COMMIT.fullmatch(revision) and info.sha != revision:
        raise errors.DownloadError(f"{model.repository}: the hub gives {info.sha} where {revision} was asked for")
    found = {
        one.rfilename: _File(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else None, one.blob_id)
        for one in info.siblings or []
        if one.rfilename in model.files
        or (_TERMS.search(one.rfilename) and "/" not in one.rfilename and (one.size or 0) < _SMALL)
    }
    if missing := [name for name in model.files if name not in found]:
        raise errors.DownloadError(f"{model.repository} at {revision} has no {', '.join(missing)}")
    return info.sha, [found.pop(name) for name in model.files] + sorted(found.values(), key=lambda file: file.name)


def _get(model: Published, commit: str, file: _File, place: Path, update: Callable[[int], None]) -> None:
    """Download a file, or the rest of it, and check it."""
    from huggingface_hub import hf_hub_url

    target, part = place / file.name, place / f"{file.name}{_PART}"
    if not target.exists():
        if part.exists() and part.stat().st_size > file.size:
            part.unlink()
        url = hf_hub_url(model.repository, file.name, revision=commit)
        with part.open("ab") as draft:
            _tried(lambda: _transfer(url, draft, file.size, update), lambda: part.stat().st_size)
        part.replace(target)
    (sha256,) = _fingerprints.sha256_of([target])
    if target.stat().st_size != file.size or not file.matches(target, sha256):
        target.unlink()
        raise errors.DownloadError(
            f"{file.name} of {model.repository} has arrived with a wrong checksum ({sha256[:12]}, not "
            f"{(file.sha256 or file.blob or '')[:12]}), and is removed: try again"
        )
    update(file.size)


def _transfer(url: str, draft: BinaryIO, size: int, update: Callable[[int], None]) -> None:
    """Append to a file what it lacks. Nothing is asked of the server if it is whole."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    draft.flush()
    start = draft.seek(0, os.SEEK_END)
    if start == size:
        return
    headers = build_hf_headers(library_name="se600m") | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        if start and response.status_code != 206:  # from the beginning, whatever was asked for
            draft.truncate(0)
        for block in response.iter_bytes(_BLOCK):
            draft.write(block)
            update(draft.tell())
            if draft.tell() > size:
                raise errors.DownloadError(f"{url} sends more than the {size:,} bytes that the hub lists")


def _tried(do: Callable[[], Any], reached: Callable[[], int] = lambda: 0) -> Any:
    """Do something over the network; again if the line broke, or the hub is busy and says for how long."""
    left, last = _TRIES, reached()
    while True:
        try:
            return do()
        except Exception as error:
            wait = _worth_waiting(error)
            now = reached()
            left = _TRIES if now > last else left - 1
            last = now
            if wait is None or left <= 0:
                raise
            log.info("trying again in %.1f s, after %s", wait, error)
            time.sleep(wait)


def _worth_waiting(error: Exception) -> float | None:
    """Seconds to wait before another try; None if there should be none."""
    status, asked = _status(error)
    if status == 429 or status >= 500:
        wait = float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else 1.0
        return wait if wait <= _LONGEST_WAIT else None
    return 1.0 if status == 0 and _of_the_line(error) else None


def _status(error: Exception) -> tuple[int, str]:
    """Give the status that the hub answered with, and for how many seconds it asks to wait; 0 if it did not answer."""
    response = getattr(error, "response", None)
    return (0, "") if response is None else (response.status_code, response.headers.get("Retry-After", ""))


def _of_the_line(error: Exception) -> bool:
    """Whether an error is of the connection. Its class is httpx's, of which versions of the hub have several."""
    return any(base.__name__ == "TransportError" for base in type(error).__mro__)


@contextlib.contextmanager
def _interrupted(model: Published, place: Path) -> Iterator[None]:
    """Have it said what is kept when the block is ended from outside."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        error.add_note(f"what has arrived of {model.name} is kept in {place}")
        raise


@contextlib.contextmanager
def _on_disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise errors.DestinationError(
                f"{str(place)!r} can't be written ({_files.reason(error)}). What has arrived is kept: make room, or "
                "set SE600M_CACHE to another folder"
            ) from error
        raise


@contextlib.contextmanager
def _explained(model: Published, revision: str) -> Iterator[None]:
    """Say in one line what the hub or the line refuses, and what to do."""
    try:
        yield
    except errors.SE600MError:
        raise
    except Exception as error:
        said = _explanation(error, model, revision)
        if said is None:
            raise
        raise errors.DownloadError(f"{model.name} could not be downloaded: {said}") from error


def _explanation(error: Exception, model: Published, revision: str) -> str | None:
    from huggingface_hub import errors as hub

    status, asked = _status(error)
    if isinstance(error, hub.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, hub.GatedRepoError) or status in (401, 403):
        return (
            f"the repository {model.repository} is open to some accounts only (status {status}): ask for access on its "
            "page, then log in with `hf auth login`, or set HF_TOKEN to a token of your account"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return f"{model.repository} has no revision {revision!r}"
    if status == 404:
        return f"{model.repository} at {revision} was not found (status 404)"
    if status == 429:
        after = f" after {asked} s" if asked else " later"
        return f"too many requests from this address or account (status 429): try again{after}, or log in with HF_TOKEN"
    if status:
        return f"the hub answers with status {status}: try again later. What has arrived is kept"
    if _of_the_line(error):
        why = _files.reason(error)
        return f"the connection failed ({why}). What has arrived is kept: try again, and it goes on from there"
    return None

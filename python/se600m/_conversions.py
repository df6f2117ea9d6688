"""Converted checkpoints in the cache: found by the content of what they were made from, made once, listed, removed.

A conversion lies in ``converted/NAME-KEY``. The key is a hash of the format and of the SHA-256 of every file that
the checkpoint consists of: weights, configuration, gene table. Where the files lie, when they were written and what
else lies beside them does not matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se600m import _cache, _files, _native, errors
from se600m._log import log

FORMAT = _native.format_version()
"""Format of a converted model: older conversions in the cache are not used."""

_DRAFT = re.compile(r"^\.(?:(?P<entry>.+)\.unfinished.*|.+\.unfinished|removed-.*|try-.*)$")


def folder() -> Path:
    """Folder of all conversions."""
    return _cache.cache_dir() / "converted"


def key(sums: Iterable[str]) -> str:
    """Name the content of a checkpoint, by the SHA-256 of its files, and the format that it is converted to."""
    return hashlib.sha256("\n".join([str(FORMAT), *sorted(set(sums))]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """A checkpoint to convert.

    Attributes
    ----------
    model
        Name of the model.
    name
        Name of the folder or file.
    files
        Name and SHA-256 of each file that the checkpoint consists of, the weights first.
    """

    model: str
    name: str
    files: tuple[tuple[str, str], ...]

    @property
    def sums(self) -> list[str]:
        """The SHA-256 of each file."""
        return [digest for _, digest in self.files]

    @property
    def entry(self) -> str:
        """Name of the conversion's folder."""
        return f"{self.model[:100]}-{key(self.sums)}"


def find(source: Source) -> Path | None:
    """Find the conversion of a checkpoint, whose own files are not needed for that."""
    for root in _roots():
        if _is_whole(root / source.entry):
            _used(root / source.entry)
            return root / source.entry
    return None


def find_or_make(source: Source, make: Callable[[Path], Any]) -> Path:
    """Find the conversion of a checkpoint, or have it made.

    Parameters
    ----------
    source
        The checkpoint.
    make
        Converts the checkpoint into the directory that it is given.

    Returns
    -------
    Path
        The converted directory: in the cache, or, where that can't be written, in a folder that lives as long
        as the process.
    """
    found = find(source)
    if found is not None:
        return found
    reason = _cache.why_not_writable(folder())
    if reason is None:
        try:
            return _make(folder(), source, make)
        except errors.DestinationError as error:  # the disk is full, say
            reason = str(error)
    try:
        stand_in = _cache.temporary() / "converted"
        log.warning(
            "the cache %s is not writable (%s): %s is converted into a temporary folder, only for this process. "
            "Set SE600M_CACHE to a writable folder",
            _cache.cache_dir(), reason, source.model,
        )  # fmt: skip
        return _make(stand_in, source, make)
    except (errors.DestinationError, PermissionError, FileNotFoundError) as error:
        if isinstance(error, errors.ModelNotFoundError):
            raise
        raise errors.DestinationError(
            f"{source.model} can't be converted, neither into the cache {str(_cache.cache_dir())!r} ({reason}) nor "
            f"into a temporary folder ({error}): set SE600M_CACHE to a writable folder with enough space"
        ) from error


def _roots() -> Iterator[Path]:
    yield folder()
    if _cache.has_temporary():
        yield _cache.temporary() / "converted"


def _make(root: Path, source: Source, make: Callable[[Path], Any]) -> Path:
    place = root / source.entry
    content = key(source.sums)
    try:
        with _cache.locked(root, content, f"the conversion of {source.model}"):
            if _is_whole(place):  # made by another process meanwhile
                _used(place)
                return place
            if place.exists():
                log.warning("the conversion %s is damaged and is made again", place)
                _remove(place)
            twin = next((p for p in sorted(root.glob(f"*-{content}")) if _is_whole(p)), None)
            if twin is not None:
                _copy_under_another_name(twin, place, source)
                return place
            try:
                make(place)
            except errors.DestinationExistsError:
                if not _is_whole(place):  # made by another process meanwhile, where there are no locks
                    raise
            if not set(_config(place)["source"]["sha256"].values()) <= set(source.sums):
                _remove(place)
                raise errors.CheckpointError(f"checkpoint {source.name!r} changed while it was read: load it again")
    except OSError as error:
        if isinstance(error, errors.SE600MError):
            raise
        raise errors.DestinationError(str(error)) from error
    return place


def _copy_under_another_name(twin: Path, place: Path, source: Source) -> None:
    """Enter the same weights once more, for a checkpoint of the same content and another name. Takes no space."""
    with _files.appearing(place, folder=True) as draft:
        for path in sorted(twin.rglob("*")):
            target = draft / path.relative_to(twin)
            if path.is_dir():
                target.mkdir(parents=True)
            elif path != twin / "config.json":
                try:
                    os.link(path, target)
                except OSError:  # a file system without hard links
                    shutil.copy2(path, target)
        config = _config(twin)
        config["name"] = source.model
        config["source"] |= {"name": source.name, "checkpoint": source.files[0][0], "sha256": dict(source.files)}
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def _config(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "config.json").read_text()))


def _is_whole(place: Path) -> bool:
    """Whether a directory is a conversion of this format with all its files."""
    return not _fault(place)


def _fault(place: Path) -> str:
    """Tell why a conversion can't be used, "" if it can."""
    try:
        config = _config(place)
        if int(config["format_version"]) != FORMAT:
            return f"format {config['format_version']}, the current format is {FORMAT}"
        for name, file in config["files"].items():
            if (place / name).stat().st_size != file["size"]:
                return f"damaged: {name}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"damaged: {error}"
    return ""


def _used(place: Path) -> None:
    """Note that a conversion was used, where that can be noted."""
    with contextlib.suppress(OSError):
        os.utime(place)


# -- what the cache holds ----------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Something that conversion has put into the cache.

    Attributes
    ----------
    name
        Name of its folder.
    what
        What it is, in words.
    fault
        Why it is not used any more; "" if it is.
    size
        Bytes that removing it frees.
    last_use
        Seconds since 1970.
    path
        Where it is.
    busy
        A process is at work on it.
    """

    name: str
    what: str
    fault: str
    size: int
    last_use: float
    path: Path
    busy: bool


def entries() -> list[Entry]:
    """List the conversions in the cache, and what interrupted ones have left behind."""
    found = []
    seen: set[tuple[int, int]] = set()
    for path in sorted(p for p in _listed(folder()) if p.is_dir() and not p.is_symlink()):
        draft = _DRAFT.match(path.name)
        if draft is None and not (path / "config.json").is_file():
            continue  # not ours
        content = (draft["entry"] or "" if draft else path.name).rpartition("-")[2]
        busy = bool(content) and _cache.is_locked(folder(), content)
        if draft is not None:
            what, fault = "unfinished", "being converted" if busy else "left over from a process that was stopped"
        else:
            what, fault = "a converted model", _fault(path)
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                config = _config(path)
                what = f"{config['name']}, from {config['source']['name']}"
                if not fault and content != key(config["source"]["sha256"].values()):
                    fault = "made by an earlier version of this package"
        found.append(
            Entry(path.name, what, fault, _size(path, seen), path.stat().st_mtime, path, busy and draft is not None)
        )
    return found


def _listed(place: Path) -> Sequence[Path]:
    try:
        return list(place.iterdir())
    except OSError:
        return []


def _size(place: Path, seen: set[tuple[int, int]]) -> int:
    """Add up the files of a folder; one with several names counts where it is seen first."""
    size = 0
    for path in place.rglob("*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                size += status.st_size if path.is_file() else 0
    return size


def chosen(names: Sequence[str], everything: bool = False) -> list[Entry]:
    """Choose entries: by the name of a model or of a folder, all of them, or those that are not used any more."""
    there = [entry for entry in entries() if not entry.busy]
    if not names:
        return [entry for entry in there if everything or entry.fault]
    found = []
    for name in names:
        matching = [e for e in there if name in (e.name, e.what.partition(", from ")[0], str(e.path))]
        if not matching:
            known = ", ".join(sorted({repr(e.name) for e in there})) or "no converted model"
            raise errors.OptionError(f"{name!r} is not in the cache {str(_cache.cache_dir())!r}, which has {known}")
        found += [entry for entry in matching if entry not in found]
    return found


def remove(entry: Entry) -> None:
    """Remove an entry. A process that has it open goes on with it."""
    try:
        _remove(entry.path)
    except OSError as error:
        raise errors.DestinationError(f"{str(entry.path)!r} can't be removed: {error.strerror}") from error


def _remove(place: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".removed-", dir=place.parent) as aside:
        os.replace(place, Path(aside) / place.name)  # gone at once, even if deleting takes time

"""Files and folders that are written completely or not at all; destinations are checked before the work starts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from se600m import errors

_SUFFIX = ".unfinished"
_LOCK, _REPLACED = "lock", "replaced"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""How an address such as ``s3://bucket/cells.zarr`` begins, of which a path keeps one slash."""
_LONGEST_NAME = 120
"""Bytes of a destination's name in the name of its draft; file systems allow 255 in all."""


def check(
    path: Path, what: str, *, overwrite: bool, option: str = "--overwrite", suffixes: tuple[str, ...] = ()
) -> Path:
    """Make sure that a file can be written, before the work that it is for.

    Parameters
    ----------
    path
        Where the file is to appear. A link is followed and stays; missing folders are fine.
    what
        Name of the destination in messages, such as ``"OUT"``.
    overwrite
        Whether an existing file may be replaced; ``option`` is how the user writes this option.
    suffixes
        Those allowed; any if empty.

    Returns
    -------
    Path
        The file itself, behind any links.

    Raises
    ------
    OptionError
        The suffix is another one.
    DestinationExistsError
        There is a file, and it may not be replaced.
    DestinationError
        No file can be written there.
    """
    if suffixes and path.suffix not in suffixes and not path.is_dir():
        *others, last = suffixes
        listed = f"{', '.join(others)} or {last}" if others else last
        raise errors.OptionError(f"{what} is {str(path)!r}: give a path that ends in {listed}")
    real, status = _looked_up(path, what)
    if status is None:
        return real
    if stat.S_ISDIR(status.st_mode):
        example = path / f"cells{suffixes[0] if suffixes else ''}"
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, which is a folder: give the path of a file, such as {str(example)!r}"
        )
    if not stat.S_ISREG(status.st_mode):
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, which is a device or a pipe: give the path of a regular file"
        )
    if not overwrite:
        raise _exists(path, what, option)
    if not os.access(real, os.W_OK):
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, which is write-protected: choose another path, or allow writing (chmod u+w)"
        )
    return real


def check_folder(path: Path, what: str, *, overwrite: bool, option: str, replaceable: str, kind: str) -> Path:
    """Make sure that a folder can be written, as :func:`check` does for a file.

    Only a folder that has a file named ``replaceable``, as every ``kind`` does, may be overwritten, so that a wrong
    path never costs a folder of another kind.
    """
    real, status = _looked_up(path, what)
    if status is None:
        return real
    if not overwrite:
        raise _exists(path, what, option)
    if not stat.S_ISDIR(status.st_mode) or not (real / replaceable).exists():
        raise errors.DestinationExistsError(
            f"{what} is {str(path)!r}, which is not {kind}, so it is not replaced: choose another path"
        )
    return real


def _looked_up(path: Path, what: str) -> tuple[Path, os.stat_result | None]:
    """Follow links to the place itself; its status if something is there. A draft must be possible beside it."""
    first = path.parts[0] if path.parts else ""
    if _SCHEME.fullmatch(first) and not Path(first).exists():
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, which is an address: give a path on this machine, and copy what is written there"
        )
    real = Path(os.path.realpath(path))
    try:
        status = _status(real)
        beside = next(folder for folder in real.parents if _status(folder) is not None)
        if not beside.is_dir():
            raise errors.DestinationError(f"{what} is {str(path)!r}, but {str(beside)!r} is a file, not a folder")
        if status is not None and _only_its_owner_may_replace(beside, status):
            raise PermissionError(None, "it belongs to another user")
    except OSError as error:
        if isinstance(error, errors.SE600MError):
            raise
        raise errors.DestinationError(f"{what} is {str(path)!r}, which can't be written: {reason(error)}") from error
    try:
        with tempfile.TemporaryFile(dir=beside):
            pass
    except OSError as error:
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, but nothing can be written in the folder {str(beside)!r}: {reason(error)}"
        ) from error
    return real, status


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except NotADirectoryError:  # under a file, which is found as one of the parents
        return None


def _only_its_owner_may_replace(folder: Path, status: os.stat_result) -> bool:
    """Whether a file lies in a folder such as /tmp, where others' files can't be replaced."""
    of_folder = folder.stat()
    return bool(of_folder.st_mode & stat.S_ISVTX) and os.geteuid() not in (0, status.st_uid, of_folder.st_uid)


def _exists(path: Path, what: str, option: str) -> errors.DestinationExistsError:
    return errors.DestinationExistsError(
        f"{what} is {str(path)!r}, which already exists: choose another path, or replace it with {option}"
    )


def check_space(destination: Path, n_bytes: int, what: str) -> None:
    """Make sure that the disk has room for about as many bytes."""
    folder = next(folder for folder in destination.parents if folder.exists())
    if (short := too_little_room(folder, n_bytes)) is not None:
        raise errors.DestinationError(
            f"{what} is {str(destination)!r} and needs about {short}: free some space, or choose another disk"
        )


def too_little_room(folder: Path, n_bytes: int) -> str | None:
    """Say how much is needed and how much is free, if the disk of a folder has too little room."""
    disk = shutil.disk_usage(folder)
    if not disk.total or disk.free >= n_bytes:  # some network file systems don't tell, and say 0
        return None
    return f"{size(n_bytes)}, but only {size(disk.free)} are free in {str(folder)!r}"


def size(n_bytes: int) -> str:
    """Format a number of bytes."""
    unit, divisor = next((u, d) for u, d in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if n_bytes >= d or u == "kB")
    return f"{n_bytes / divisor:,.1f} {unit}"


def reason(error: BaseException) -> str:
    """Say why something failed, in one line, without the numbers that systems add."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    where = "; ".join(getattr(error, "__notes__", [])[:1])  # anndata notes the element that it is about
    return " ".join(f"{text or type(error).__name__}{f' ({where})' if where else ''}".split())


def same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file or folder that exists."""
    paths = [os.path.expanduser(path) for path in (one, other)]
    return all(map(os.path.exists, paths)) and os.path.samefile(*paths)


def check_other_than(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], name: str, lost: str = ""
) -> None:
    """Make sure that an output is not what is read, which is called ``name``, and say what would be ``lost``."""
    if same(source, destination):
        loss = f", or {lost} would be lost" if lost else ""
        raise errors.DestinationError(
            f"OUT is {os.fspath(destination)!r}, which is also {name}: choose another path{loss}"
        )


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """Turn what the system refuses while a file is written into an error that names the file."""
    try:
        yield
    except errors.SE600MError:
        raise
    except OSError as error:
        raise errors.DestinationError(
            f"{what} is {str(path)!r}, which could not be written: {reason(error)}"
        ) from error


@contextmanager
def appearing(destination: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a draft beside the destination to write; it takes the destination's place if the block succeeds.

    Drafts of processes that were killed are cleared away. If the block fails, nothing stays, folders that were made
    for the destination included.
    """
    destination = Path(os.path.realpath(destination))
    made = [parent for parent in destination.parents if not parent.exists()]
    destination.parent.mkdir(parents=True, exist_ok=True)
    done = False
    try:
        _clear_away_drafts_of_the_dead(destination)
        with _workplace(destination) as workplace:
            draft = workplace / f"draft{destination.suffix}"
            if folder:
                draft.mkdir()
            yield draft
            draft.chmod(_mode(destination, folder))
            if folder and destination.exists():
                os.rename(destination, workplace / _REPLACED)
                try:
                    os.rename(draft, destination)
                except BaseException:
                    os.rename(workplace / _REPLACED, destination)
                    raise
            else:
                if not folder:
                    _flush(draft)
                os.replace(draft, destination)
            done = True
    finally:
        if not done:
            for parent in made:  # the innermost first; one that others use by now stays
                with suppress(OSError):
                    parent.rmdir()


@contextmanager
def _workplace(destination: Path) -> Iterator[Path]:
    """Make a hidden folder beside the destination, with a lock that ends with this process, however that ends."""
    folder = Path(tempfile.mkdtemp(_SUFFIX, _prefix(destination), destination.parent))
    try:
        lock = os.open(folder / f"{_LOCK}-new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A file system without locks gives none to others either, and they leave the folder alone.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(folder / f"{_LOCK}-new", folder / _LOCK)  # under this name it is always locked
            yield folder
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_away_drafts_of_the_dead(destination: Path) -> None:
    prefix = _prefix(destination)
    with suppress(OSError):
        names = [n for n in os.listdir(destination.parent) if n.startswith(prefix) and n.endswith(_SUFFIX)]
        for folder in (destination.parent / name for name in names):
            with suppress(OSError):
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not (folder / _REPLACED).exists():
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(lock)


def _prefix(destination: Path) -> str:
    name = os.fsencode(destination.name)[:_LONGEST_NAME]
    return f".{os.fsdecode(name.decode('utf-8', 'ignore').encode())}."


def _mode(destination: Path, folder: bool) -> int:
    """Permissions of what is replaced, or those of a new file or folder."""
    if destination.exists():
        return stat.S_IMODE(destination.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return (0o777 if folder else 0o666) & ~mask


def sync(place: Path) -> None:
    """Have a file, or all of a folder, on the disk with its name, so that what it was made from may go."""
    inside = [place] if place.is_file() else []
    folders = [place.parent]
    for folder, _, names in os.walk(place):
        inside += [Path(folder, name) for name in names]
        folders.append(Path(folder))
    for path in inside:
        _flush(path)
    for path in folders:
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where the file system can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flush(path: Path) -> None:
    """Have a file's content on the disk before its name: a full disk or quota shows here at the latest."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())

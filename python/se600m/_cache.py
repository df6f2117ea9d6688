"""The cache folder, its locks, and the temporary folder that is used if the cache can't be written."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs

from se600m._log import log


def cache_dir() -> Path:
    """Folder for converted models and runtimes: ``SE600M_CACHE``, else the user's cache folder."""
    override = os.environ.get("SE600M_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("se600m", appauthor=False)


def why_not_writable(folder: Path) -> str | None:
    """Return why nothing can be written into a folder, which is created if necessary; None if it is writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Access bits say nothing of read-only mounts, quotas and full disks: a file with a byte in it does.
        with tempfile.NamedTemporaryFile(prefix=".try-", dir=folder) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


@functools.cache
def temporary() -> Path:
    """Folder that stands in for the cache: it lives as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="se600m-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def has_temporary() -> bool:
    """Whether this process has a folder that stands in for the cache."""
    return temporary.cache_info().currsize > 0


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's files alone
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(root: Path, name: str, what: str) -> Iterator[None]:
    """Hold a lock of this name among all processes and threads that use a cache; wait for it if another has it.

    It is the operating system's lock: a process that ends, however it ends, lets go of it.
    """
    lock = filelock.FileLock(str(_lock_file(root, name)))
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info("waiting for another process to finish %s", what)
            lock.acquire()
            log.info("the other process has finished %s", what)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, filelock.Timeout):  # is an OSError, too
            raise
        # Some network file systems have no locks. The work may then be done twice; its result is whole all the same.
        log.info("%s does not support locks (%s): not waiting for other processes", root, error)
    try:
        yield
    finally:
        lock.release()


def is_locked(root: Path, name: str) -> bool:
    """Whether a process holds the lock of this name."""
    file = _lock_file(root, name)
    if not file.exists():
        return False
    lock = filelock.FileLock(str(file))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _lock_file(root: Path, name: str) -> Path:
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"

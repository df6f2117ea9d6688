"""What is in files: their SHA-256, computed once for a large file that stays as it is.

A large file is known again by its device, inode, size, and times of change. The time of the last change of its status
(ctime) is the kernel's own and can't be set, so a file that was changed is never taken for the old one, whatever
``touch`` or ``rsync --times`` make of the rest. A file that was moved, copied or touched is hashed again, to the same
sum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from se600m import _cache, _files, _progress, errors

_LARGE = 64 << 20
"""Bytes. Smaller files are hashed whenever they are looked at: that takes less than a blink."""
_SETTLED = 3.0
"""Seconds that a file must have lain still: within the tick of a clock a change leaves the times as they were."""
_BLOCK = 4 << 20
_MOST = 500
"""Sums that are kept; the oldest go."""


def index_file() -> Path:
    """Where the sums of large files are kept."""
    return _cache.cache_dir() / "checksums.json"


def sha256_of(files: Iterable[Path], progress: bool | None = None) -> list[str]:
    """Compute the SHA-256 of files, in hexadecimal digits.

    Raises
    ------
    CheckpointError
        A file can't be read, or changes meanwhile.
    """
    files = list(files)
    known = _read_index()
    unknown = [file for file in files if _identity(file) not in known]
    large = sum(size for file in unknown if (size := _stat(file).st_size) >= _LARGE)
    with _progress.bar(progress if large else False, "Reading checkpoint", large, unit="B") as update:
        done = 0
        new: dict[str, str] = {}
        sums = []
        for file in files:
            before = _identity(file)
            if before in known:
                sums.append(known[before])
                continue
            status = _stat(file)
            digest = hashlib.sha256()
            try:
                with file.open("rb", buffering=0) as opened:
                    while block := opened.read(_BLOCK):
                        digest.update(block)
                        if status.st_size >= _LARGE:
                            done += len(block)
                            update(done, large)
            except OSError as error:
                raise errors.CheckpointError(f"{str(file)!r} can't be read: {error.strerror}") from error
            if _identity(file) != before:
                raise errors.CheckpointError(f"{str(file)!r} changed while it was read: load it again")
            sums.append(digest.hexdigest())
            if status.st_size >= _LARGE and time.time() - status.st_ctime > _SETTLED:
                new[before] = digest.hexdigest()
    if new:
        _write_index(known | new)
    return sums


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise errors.CheckpointError(f"{str(file)!r} can't be read: {error.strerror}") from error


def _identity(file: Path) -> str:
    s = _stat(file)
    return f"{s.st_dev}:{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}"


def _read_index() -> dict[str, str]:
    try:
        index = json.loads(index_file().read_text())
        return {str(key): str(value) for key, value in index.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_index(index: dict[str, str]) -> None:
    newest = dict(list(index.items())[-_MOST:])
    with contextlib.suppress(OSError), _files.appearing(index_file()) as draft:  # where nothing can be kept, nothing is
        draft.write_text(json.dumps(newest, indent=0) + "\n")

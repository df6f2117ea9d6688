"""A large file that is copied while something else is computed."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

_FICLONE = 0x40049409
"""The system call of Linux that has two files share what is on the disk, where the file system can."""

_BLOCK = 16 << 20
"""Bytes that are copied at once: a copy that is not wanted any more ends soon."""


class Copy:
    """A copy of a file that is being made. Where the file system can, both share what is on the disk at once."""

    def __init__(self, source: Path, target: Path) -> None:
        self.target = target
        self._source, self._stopped = source, threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="se600m-copy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._source.open("rb") as given, self.target.open("wb") as made:
                with suppress(OSError):
                    fcntl.ioctl(made.fileno(), _FICLONE, given.fileno())
                    return
                while not self._stopped.is_set() and os.sendfile(made.fileno(), given.fileno(), None, _BLOCK):
                    pass
        except OSError as error:
            self._error = error

    def check(self) -> None:
        """Raise what went wrong so far: a full disk is not found out about in the end."""
        if self._error is not None:
            raise self._error

    def finish(self) -> Path:
        """Wait for the copy; gives where it is."""
        self._thread.join()
        self.check()
        return self.target

    def __enter__(self) -> Self:
        """Give the copy itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop, if it is not done; it is thrown away unless somebody has taken it."""
        self._stopped.set()
        self._thread.join()
        self.target.unlink(missing_ok=True)

"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing(destination: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give a draft beside the destination to write; it takes the destination's place if the block succeeds."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    suffix, prefix = ".unfinished", f".{destination.name}."
    if folder:
        draft = Path(tempfile.mkdtemp(suffix, prefix, destination.parent))
    else:
        handle, name = tempfile.mkstemp(suffix, prefix, destination.parent)
        os.close(handle)
        draft = Path(name)
    try:
        yield draft
        draft.chmod((0o777 if folder else 0o666) & ~_umask())
        os.replace(draft, destination)
    finally:
        if folder:
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Log lines, and warnings that point to the line of the user's code."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from se600m import errors

log = logging.getLogger("se600m")
log.addHandler(logging.NullHandler())

_PACKAGE = str(Path(__file__).parent)

_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)
"""Warnings that are to become one error, where they are."""


@contextmanager
def warnings_as_error(strict: bool) -> Iterator[None]:
    """With ``strict``, raise the warnings of the block as one SuspiciousDataError at its end."""
    if not strict:
        yield
        return
    kept: list[str] = []
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
    if kept:
        raise errors.SuspiciousDataError("\n".join(kept))


def warn(message: str, category: type[Warning] = errors.DataWarning) -> None:
    """Warn at the line of the user's code that called the package."""
    if (kept := _kept.get()) is not None:
        kept.append(message)
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

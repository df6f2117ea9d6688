"""Log lines, and warnings that point to the line of the user's code."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from se600m import errors

log = logging.getLogger("se600m")
log.addHandler(logging.NullHandler())

worded: Callable[[str], str] = str
"""Puts what is said beside a progress bar into the words of whoever runs se600m: the command names flags."""

_PACKAGE = str(Path(__file__).parent)

_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)
"""Warnings that are to become one error, where they are."""


_listener: ContextVar[Callable[[str], None] | None] = ContextVar("_listener", default=None)
"""Who shows notices, where somebody watches."""


@contextmanager
def notices_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Have notices of the block shown by a function, such as one that writes beside a progress bar."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def notice(text: str) -> None:
    """Tell of what happens during the work: it is shown if somebody watches, and logged otherwise."""
    listener = _listener.get()
    if listener is None:
        log.warning(text)
    else:
        listener(text)


@contextmanager
def warnings_as_error(strict: bool) -> Iterator[None]:
    """With ``strict``, raise the warnings of the block as one SuspiciousDataError at its end."""
    if not strict:
        yield
        return
    with kept_back() as kept:
        yield
    if kept:
        raise errors.SuspiciousDataError("\n".join(kept))


@contextmanager
def kept_back() -> Iterator[list[str]]:
    """Keep the texts of the warnings of the block, instead of warning."""
    kept: list[str] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)
"""Where the texts of warnings are collected, beside being warnings."""


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Collect the texts of the warnings of the block."""
    texts: list[str] = []
    token = _collected.set(texts)
    try:
        yield texts
    finally:
        _collected.reset(token)


def warn(message: str, category: type[Warning] = errors.DataWarning) -> None:
    """Warn at the line of the user's code that called the package."""
    if (kept := _kept.get()) is not None:
        kept.append(message)
        return
    if (collected := _collected.get()) is not None:
        collected.append(message)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

"""How the ``se600m`` command ends: with one line of text and an exit status, whatever the cause."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
import typer.main
from rich.console import Console

from se600m import _cli_words, _log

say = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
"""Messages for the user (standard error); results that a program may read go to standard output."""

_INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C, as in shells."""


_flags: dict[str, str] = {}
"""How the options of the command that runs are written."""


_kept: list[str] = []
"""What is kept of the run that was ended."""
_to_go_on: list[str] = []
"""The words that the command needs to go on with it."""


@contextmanager
def resumable(*words: str) -> Iterator[None]:
    """Have what is kept of a run that is ended in the block said, with the command that goes on: the same and words."""
    try:
        yield
    except BaseException as error:
        _kept.extend(getattr(error, "__notes__", []))
        _to_go_on.extend(words)
        raise


@contextmanager
def progress_as(json: bool) -> Iterator[None]:
    """Have progress in a block shown as lines of JSON, if so chosen."""
    if not json:
        yield
        return
    from se600m import _progress

    with _progress.as_lines(sys.stderr):
        yield


class _Stopped(BaseException):
    """A signal asks the process to end; what is under way is cleaned up first."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number  # as a shell calls it


def run(app: typer.Typer) -> None:
    """Run the command; errors end it with one clear line and exit status 1, wrong options with 2."""
    _listen()
    _flags.update(_cli_words.flags_of(typer.main.get_command(app), sys.argv[1:]))
    _log.worded = worded
    try:
        status = _run(app)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has gone, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1  # as typer ends it where the output is not buffered
    sys.exit(status)


def _listen() -> None:
    """Have warnings and signals in the command's own way. A signal that is ignored, as by nohup, stays so."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 can't show "×"

    def stop(number: int, _frame: object) -> None:
        for name in ours:  # once is enough: cleaning up is not interrupted
            signal.signal(name, signal.SIG_IGN)
        raise _Stopped(number)

    ours = [name for name in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(name) == signal.SIG_DFL]
    for name in ours:
        signal.signal(name, stop)


def _show_warning(message: Warning | str, *_args: object, **_more: object) -> None:
    say.print(f"warning: {_one_line(message)}")


def _run(app: typer.Typer) -> int:
    """Run the command and say in one line what ended it; gives the exit status."""
    try:
        status = app(standalone_mode=False) or 0
    except (typer.Abort, KeyboardInterrupt):  # versions of typer differ in what they make of Ctrl-C
        status = _INTERRUPTED
    except _Stopped as stopped:
        status = stopped.status
    except BrokenPipeError:
        raise
    except Exception as error:
        return _told(error)
    if status in (_INTERRUPTED, 128 + signal.SIGTERM, 128 + signal.SIGHUP):
        say.print(f"stopped; {_one_line(_kept[0]) if _kept else 'nothing was written'}")
        if _kept:
            _say_command()
    return int(status)


def _say_command() -> None:
    words = [*sys.argv[1:], *(word for word in _to_go_on if word not in sys.argv)]
    say.print(f"  se600m {shlex.join(words)}")


def _told(error: Exception) -> int:
    from se600m.errors import SE600MError

    if os.environ.get("SE600M_DEBUG"):
        traceback.print_exception(error)
    usage = getattr(error, "format_message", None)  # a wrong option
    if usage is not None:
        said, status = usage(), getattr(error, "exit_code", 2)
        return _failed(said, status) if said else int(status)  # without a command, the help has been shown
    if isinstance(error, SE600MError):
        return _failed(". ".join([str(error), *_kept]))
    if isinstance(error, MemoryError):
        return _failed(f"not enough memory ({error}): use fewer cells, or a machine with more memory")
    if isinstance(error, OSError):
        of_file = "" if error.filename is None else f"{str(error.filename)!r}: "
        return _failed(f"{of_file}{error.strerror or error}")
    return _failed(
        f"{type(error).__name__}: {error}: this is a bug in se600m. Please report it with the output of the same "
        "command with SE600M_DEBUG=1 in the environment"
    )


def _failed(message: object, status: int = 1) -> int:
    say.print(f"error: {_one_line(message)}")
    return status


def _one_line(message: object) -> str:
    return " ".join(worded(str(message)).split())


def worded(message: str) -> str:
    """Name options as flags."""
    return _cli_words.in_flags(message, _flags) if _flags else message

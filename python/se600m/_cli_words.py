"""Messages of the package in the words of a command: options are named as the flags that a user of the shell types."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_OTHER_NAMES = {"key_added": "key", "use_rep": "key"}
"""Options that Python and the command line name differently."""

_OTHER_NAMES_IN = {
    "transfer-labels": {"key": "label", "key_added": "key_added"},
    "query": {"key_added": "key_added"},
    "merge": {"src": "source"},
}
"""The same, where a command has other names than most."""

_TEXT = r"""(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|(?<!\w)"(?:[^"\\]|\\.)*"(?!\w)"""
_VALUE = rf"(?:{_TEXT}|\.\.\.|True|False|-?(?:\d[\w.+-]*\w|\d|inf|nan))"
_ALONE = r"""(?<![\w./\\'"-])"""
_CALL = re.compile(
    rf"se600m\.(?P<name>embed|index|query|nearest|transfer_labels)(?:_file)?\((?P<arguments>(?:{_TEXT}|[^()'\"])*)\)"
)
_LOAD_MODEL = re.compile(rf"""se600m\.load_model\((?P<value>{_TEXT})\)""")


def flags_of(command: Any, words: Sequence[str]) -> dict[str, str]:
    """List how options are written, by their names in Python: those of the command that runs, then those of others.

    A switch that has a flag of its own to turn it off is there as ``"convert=False"``, too.

    Parameters
    ----------
    command
        The command of typer, with its subcommands.
    words
        What the user typed after the command's own name.
    """
    flags = _flags_of_all(command)
    others = dict(_OTHER_NAMES)
    for word in words:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
            others |= _OTHER_NAMES_IN.get(word, {})
    flags |= {p.name: p.opts[0] if p.opts[0].startswith("--") else p.metavar or p.opts[0] for p in command.params}
    return flags | {python: flags[name] for python, name in others.items()}


def _flags_of_all(command: Any) -> dict[str, str]:
    flags = {p.name: p.opts[0] for p in command.params if p.opts[0].startswith("--")}
    flags |= {_off(p.name): p.secondary_opts[0] for p in command.params if p.secondary_opts}
    for inner in getattr(command, "commands", {}).values():
        flags |= _flags_of_all(inner)
    return flags


def _off(name: str) -> str:
    """Name a switch that is turned off, among flags."""
    return f"{name}=False"


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """Write options as flags: ``use_raw=True`` as ``--use-raw``, ``fill="shared"`` as ``--fill shared``.

    Names that are no words, such as ``use_raw``, are replaced where they stand alone, too, and others where a message
    begins with them: ``report is 'run.txt'``. Quoted text stays.
    """
    names = "|".join(sorted((re.escape(name) for name in flags if "=" not in name), key=len, reverse=True))
    alone = "|".join(name for name in names.split("|") if "_" in name)
    mention = re.compile(
        rf"{_ALONE}(?P<name>{names})=(?P<value>{_VALUE})|(?P<text>{_TEXT})"
        rf"|{_ALONE}(?P<alone>{alone})(?![\w/\\'\"=-]|\.\w)|\A(?P<first>{names})(?= is ['\"])"
    )

    def written(found: re.Match[str]) -> str:
        if found["text"]:
            return found[0]
        if found["name"] is None:
            return flags[found["alone"] or found["first"]]
        flag, value = flags[found["name"]], found["value"]
        if value == "True":
            return flag
        if value == "False":
            return flags.get(_off(found["name"]), f"no {flag}")
        return f"{flag} {_typed(value)}"

    def command(found: re.Match[str]) -> str:
        others = _OTHER_NAMES | _OTHER_NAMES_IN.get(found["name"].replace("_", "-"), {})
        of_it = {**flags, **{python: f"--{name.replace('_', '-')}" for python, name in others.items()}}
        return _command(found, lambda text: in_flags(text, of_it))

    return mention.sub(written, _CALL.sub(command, _LOAD_MODEL.sub(r"model=\g<value>", message)))


def _command(found: re.Match[str], in_flags: Callable[[str], str]) -> str:
    """Write a call as the command that does the same: ``se600m.embed(adata)`` as ``se600m embed IN``."""
    try:
        call = ast.parse(f"f({found['arguments']})", mode="eval").body
    except SyntaxError:
        return found[0]
    assert isinstance(call, ast.Call)
    words = ["se600m", found["name"].replace("_", "-")]
    for argument in call.args:
        words.append("IN" if isinstance(argument, ast.Name) else _typed(ast.unparse(argument)))
    words += [in_flags(f"{keyword.arg}={ast.unparse(keyword.value)}") for keyword in call.keywords]
    return f"`{' '.join(words)}`"


def _typed(value: str) -> str:
    """Write a value as it is typed in a shell."""
    if value[0] not in "'\"":
        return value
    try:
        return shlex.quote(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value

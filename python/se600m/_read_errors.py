"""Why a file can't be read, in one line, from the long messages of h5py and anndata."""

from __future__ import annotations

import importlib.metadata
import re

_READ_SINCE = {"nullable-string-array": "0.11", "null": "0.12", "accessor": "0.14"}
"""The versions of anndata that first read what younger ones write."""
_DAMAGED = re.compile(
    "filter returned failure|inflate\\(\\) failed|bad (object header|heap|symbol table|local heap|local name heap)"
    "|wrong .* signature|checksum|unable to (read|load|find|get|decode)|can't (synchronously )?read data|addr overflow",
    re.IGNORECASE,
)


def cause(error: BaseException) -> str:
    """Say in one line why a file can't be read, with the way out where there is one."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    text = "\n".join([str(e) for e in chain] + [note for e in chain for note in getattr(e, "__notes__", ())])
    key = re.search(r"rror raised while reading key '([^']*)'.*?(?: from (/\S*))?$", text, re.MULTILINE)
    element = f"{(key[2] or '').rstrip('/')}/{key[1].lstrip('/')}" if key else ""
    at = f"{element}: " if element else ""
    spec = re.search(r"IOSpec\(encoding_type='([^']*)', encoding_version='([^']*)'\)", text)
    if spec is not None:
        since = _READ_SINCE.get(spec[1])
        here = importlib.metadata.version("anndata")
        wanted = f"anndata {since} or newer" if since else f"a newer anndata than {here}"
        return (
            f"{at}is stored as {spec[1]!r}, version {spec[2]}, which requires {wanted}: pip install --upgrade anndata"
        )
    cut = re.search(r"truncated file: eof = (\d+),.*stored_eof = (\d+)", text)
    if cut is not None:
        return (
            f"it is cut off ({int(cut[1]):,} of {int(cut[2]):,} bytes): its download or copy did not finish, so "
            "get it again"
        )
    if "unable to lock file" in text.lower() or "file is already open" in text.lower():
        return "another process has it open for writing: wait until it has finished, or copy the file"
    if re.search(r"(filter|plugin).*(not registered|can't open)", text, re.IGNORECASE):
        return f"{at}its compression requires a plugin for h5py: pip install hdf5plugin"
    missing = re.search(r"object '([^']+)' doesn't exist", text)
    if missing is not None:
        return f"{at}it has no {missing[1]!r}: the file is incomplete, so write it again from its source"
    damaged = _DAMAGED.search(text)
    if damaged is not None:
        return f"{at}it is damaged ({damaged[0]}): get it again, or write it again from its source"
    said = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return f"{at}{said[:300]}"

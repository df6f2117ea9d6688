"""The report of a run, in a file beside the output: JSON, or a web page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from se600m import _files, _picture, _run_page


def check(report: str | os.PathLike[str] | None) -> Path | None:
    """Make sure that a report can be written, before the work that it is about. An earlier one is replaced."""
    if report is None:
        return None
    return _files.check(Path(report).expanduser(), "report", overwrite=True, suffixes=(".json", ".html"))


def is_page(place: Path | None) -> bool:
    """Whether the report is a web page, which has a picture."""
    return place is not None and place.suffix == ".html"


def now() -> str:
    """Say when a run has finished, in local time."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def write(place: Path | None, report: Mapping[str, Any], picture: _picture.Picture | None = None) -> None:
    """Write a report as its suffix says; the picture is for a page."""
    if place is None:
        return
    text = _run_page.page(report, picture) if is_page(place) else json.dumps(dict(report), indent=2) + "\n"
    with _files.told("report", place), _files.appearing(place) as draft:
        draft.write_text(text, encoding="utf-8")

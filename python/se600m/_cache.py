"""Where se600m keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Folder for converted models and runtimes: ``SE600M_CACHE``, else the user's cache folder."""
    override = os.environ.get("SE600M_CACHE")
    return Path(override) if override else platformdirs.user_cache_path("se600m", appauthor=False)

"""Packages that are optional, and the extras of se600m-go that bring them."""

from __future__ import annotations

import importlib
from typing import Any

from se600m import errors


def module(name: str, extra: str, what: str) -> Any:
    """Import an optional package, or a module of it.

    Parameters
    ----------
    name
        The module.
    extra
        The extra that installs the package.
    what
        What requires it, with the verb: "vector search requires".

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise errors.MissingPackageError(f"{what} the package {package}: pip install 'se600m-go[{extra}]'") from None

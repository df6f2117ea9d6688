"""What a table of embedded cells keeps of how its vectors were made, and what may be compared with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from se600m import _lance, _nearest, errors

_NOTED = ("model", "model_checksum", "precision", "fill", "seed", "genes", "with_dataset_embedding", "package")


def kept(noted: _nearest.Noted, use_rep: str) -> dict[str, Any]:
    """Choose what is kept of what embed noted, as text and numbers."""
    some = {name: noted[name] for name in _NOTED if name in noted}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in some.items()}
    return {"use_rep": use_rep} | plain


def _differences(table: _lance.Table, noted: _nearest.Noted, names: tuple[str, ...]) -> str | None:
    """Say in what the vectors of a table differ from others, by what was noted about the two."""
    theirs, key = table.notes, "model_checksum"
    if (key in theirs) != (key in noted):
        known, unknown = ("the table", "these cells") if key in theirs else ("these cells", "the table")
        which = _nearest.model_of(theirs if key in theirs else noted)
        return f"it is not noted what embedded {unknown}, but {known} came from se600m{which}"
    if _nearest.differ(theirs, noted, key):
        return (
            f"it has vectors of another model{_nearest.model_of(theirs)} than these cells{_nearest.model_of(noted)}; "
            f"the checksums are {str(theirs[key])[:12]} and {str(noted[key])[:12]}"
        )
    options = _nearest.different_options(theirs, noted, names)
    listed = ", ".join(f"{name} {values}" for name, values in options)
    return f"it has vectors that were made with other options than these cells ({listed})" if options else None


def check_same(table: _lance.Table, width: int, noted: _nearest.Noted, *, to_search: bool = False) -> None:
    """Refuse a table whose vectors can't be compared with an embedding."""
    names = ("precision",) if to_search else ("precision", "fill", "seed", "genes")
    different = _differences(table, noted, names)
    if different is None and table.width != width:
        different = f"its vectors are {table.width} wide, and those of these cells {width}"
    if different is not None:
        other = "search another table" if to_search else "choose another table"
        raise errors.DataError(
            f"{table.place.given!r} can't be used: {different}. Embed the cells as those of the table, or {other}"
        )

"""Nearest cells and labels from a table, in files: what ``se600m query`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from se600m import _files, _label_files, _lance, _query, errors

_SUFFIXES = (".csv", ".parquet", ".h5ad")


def write(source: str, uri: str, destination: Path, *, overwrite: bool, label: str | None, **options: Any) -> int:
    """Search for cells of a file, and write what is found. The file appears whole or not at all.

    Parameters
    ----------
    source, uri, label, options
        See :func:`se600m.query`.
    destination
        ``.csv`` and ``.parquet``: a row per nearest cell or, with ``label``, a row per cell. ``.h5ad``: a copy of the
        input with the label in ``obs``.

    Returns
    -------
    int
        Number of cells that were searched for.
    """
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=_SUFFIXES)
    _lance.lancedb()
    _files.check_other_than(source, destination, "IN")
    if place.suffix == ".h5ad":
        if label is None:
            raise errors.OptionError("an h5ad file takes the label of each cell: give label=..., or an OUT.csv")
        _label_files.check_copy(source, place)
        _label_files.check_columns(source, _columns(label), overwrite=overwrite)
    found = _query.query(source, uri, label=label, **options)
    with _files.told("OUT", place), _files.appearing(place) as draft:
        if place.suffix == ".h5ad":
            columns = zip(_columns(str(label)), (found.labels, found.confidence), strict=True)
            _label_files.write_copy(draft, source, dict(columns))
        else:
            _write_table(draft, found.to_arrow() if label is None else found.labels_to_arrow())
    return len(found.obs_names)


def _write_table(draft: Path, table: Any) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    if draft.suffix == ".parquet":
        pyarrow.parquet.write_table(table, draft, compression="zstd")
        return
    for i, field in enumerate(table.schema):
        if str(field.type).startswith("dictionary"):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    pyarrow.csv.write_csv(table, draft)


def _columns(label: str) -> tuple[str, str]:
    return label, f"{label}_confidence"

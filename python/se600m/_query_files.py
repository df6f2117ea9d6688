"""Nearest cells and labels from a table, in files: what ``se600m query`` does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from se600m import _destination, _embedded, _files, _label_files, _lance, _query, errors

_SUFFIXES = (".csv", ".parquet", ".h5ad")


def write(
    source: str,
    uri: str,
    destination: Path,
    *,
    overwrite: bool,
    label: str | None,
    key_added: str | None,
    use_rep: str,
    modality: str | None,
    **options: Any,
) -> int:
    """Search for cells of a file, and write what is found. The file appears whole or not at all.

    Parameters
    ----------
    source, uri, label, use_rep, modality, options
        See :func:`se600m.query`.
    destination
        ``.csv`` and ``.parquet``: a row per nearest cell or, with ``label``, a row per cell. ``.h5ad``: a copy of the
        input with the label in ``obs``.
    key_added
        Column in which the labels are written; ``label`` by default.

    Returns
    -------
    int
        Number of cells that were searched for.
    """
    _query.checked(label=label, **options)
    if key_added is not None:
        _destination.check_key(key_added, "obs")
    place = _files.check(destination, "OUT", overwrite=overwrite, suffixes=_SUFFIXES)
    _lance.lancedb()
    _files.check_other_than(source, destination, "IN")
    as_copy = place.suffix == ".h5ad"
    if label is None and (as_copy or key_added is not None):
        what, way = f"key_added={key_added!r} is for", "too, or leave it out"
        if as_copy:
            what, way = "an h5ad file takes", "or an OUT.csv"
        raise errors.OptionError(f"{what} the label of each cell: give label=..., {way}")
    if label is not None and options["columns"]:
        raise errors.OptionError(
            f"columns={','.join(options['columns'])!r} is for a row per nearest cell, but label={label!r} writes one "
            "per cell: leave one of them out"
        )
    if as_copy:
        _label_files.check_copy(source, place)
    with _embedded.opened(source, use_rep, modality) as adata:
        written = label if key_added is None else key_added
        if as_copy:
            _destination.check_labels(adata, written, overwrite=overwrite, copy=False)
        found = _query.query(adata, uri, label=label, use_rep=use_rep, **options)
    found = dataclasses.replace(found, label=written)
    with _files.told("OUT", place), _files.appearing(place) as draft:
        if as_copy:
            columns = zip(_destination.labels_of(str(written)), (found.labels, found.confidence), strict=True)
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

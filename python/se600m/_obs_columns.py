"""Columns of obs as columns of a table: their names, their types, and some rows of them at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from se600m import _lance, errors
from se600m._options import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def safe(name: Any) -> str:
    """Name a column so that SQL and LanceDB take it: letters, digits and underscores."""
    plain = re.sub(r"\W", "_", str(name)) or "_"
    return f"obs_{plain}" if plain in _lance.RESERVED or plain.startswith("_") else plain


def beside(own: Sequence[str], chosen: Iterable[str]) -> dict[str, str]:
    """Name columns of obs beside the columns that a table has of its own: ``rank`` is ``obs_rank`` if it has a rank.

    Returns
    -------
    dict
        Names in the table, by those in obs.

    Raises
    ------
    DataError
        Two columns get the same name.
    """
    named: dict[str, str] = {}
    for name in chosen:
        key = f"obs_{name}" if name in own else name
        before = next((other for other, taken in named.items() if taken == key and other != name), None)
        if before is not None:
            raise _same_name(before, name, key)
        named[name] = key
    return named


def _same_name(one: Any, other: Any, key: str) -> errors.DataError:
    return errors.DataError(
        f"the columns {one!r} and {other!r} of obs would both be named {key!r} in the table: rename one, or choose "
        "columns without it"
    )


def columns_of(obs: pd.DataFrame, chosen: Sequence[str] | None) -> dict[str, pa.Array]:
    """Give columns of obs as arrays of Arrow, by their names in the table. Categories become their values.

    Raises
    ------
    OptionError
        A chosen column is not there.
    DataError
        A column has values of several kinds, or two get the same name.
    """
    if isinstance(chosen, str):
        raise errors.OptionError(f"obs={chosen!r} is text: give a list of columns, such as [{chosen!r}]")
    names = list(obs.columns) if chosen is None else list(dict.fromkeys(chosen))
    found: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    for name in names:
        if name not in obs.columns:
            known = tuple(map(str, obs.columns))
            raise errors.OptionError(f"obs has no column {name!r}, only {list(known)}{did_you_mean(str(name), known)}")
        key = safe(name)
        if key in found:
            raise _same_name(origin[key], name, key)
        found[key], origin[key] = _array(obs[name], name), name
    return found


def _array(column: Any, name: Any) -> Any:
    import pyarrow as pa

    if not isinstance(column, pd.Series):
        raise errors.DataError(f"obs has two columns {name!r}: rename one, or choose others with obs=...")
    try:
        made = pa.array(column, from_pandas=True)
        made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
        return made if pa.types.is_dictionary(made.type) else made.cast(stored_type(made.type))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise errors.DataError(
            f"obs[{name!r}] can't be a column of a table ({_lance.first_line(error)}): convert it, such as with "
            f"obs[{name!r}].astype(str), or choose columns with obs=..."
        ) from error


def stored_type(kind: Any) -> Any:
    """Give the type in which values are stored: that of the categories for categories, text for nothing at all."""
    import pyarrow as pa

    t = pa.types
    if t.is_dictionary(kind):
        kind = kind.value_type
    if t.is_null(kind) or t.is_string(kind) or t.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    if not (t.is_boolean(kind) or t.is_integer(kind) or t.is_floating(kind) or t.is_date(kind) or t.is_timestamp(kind)):
        raise TypeError(f"its type is {kind}")
    return kind


def checked_against(columns: Mapping[str, Any], table: _lance.Table | None) -> list[pa.Field]:
    """Compare columns with those of a table; gives those that the table lacks.

    Raises
    ------
    DataError
        The values of a column can't be of the type that the table's column has.
    """
    import pyarrow as pa

    new = []
    for name, values in columns.items():
        kind = stored_type(values.type)
        if table is None or name not in table.schema.names:
            new.append(pa.field(name, kind))
            continue
        wanted = table.schema.field(name).type
        try:
            part(values, 0, len(values), wanted)
        except pa.ArrowException:
            raise errors.DataError(
                f"obs[{name!r}] has values of type {kind}, but the table's column {name!r} is {wanted}: convert or "
                "rename it, or choose columns with obs=..."
            ) from None
    return new


def part(values: Any, first: int, last: int, kind: Any) -> Any:
    """Give some values as a type."""
    import pyarrow as pa

    some = values.slice(first, last - first)
    if pa.types.is_dictionary(some.type):
        some = some.dictionary_decode()
    return some.cast(kind)

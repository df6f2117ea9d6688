"""Genes of another species as human genes, by a table of orthologues."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from se600m import _anndata, _destination, _files, _not_anndata, _var, errors
from se600m._log import log, warn
from se600m._words import many, verb

_SUFFIXES = (".csv", ".tsv", ".txt")
_NAMES, _COUNTS = "orthologue_of", "orthologues"
"""The column of ``var`` and the key of ``uns`` that are written."""


def map_orthologues(
    adata: AnnData, table: pd.DataFrame | str | os.PathLike[str], *, gene_column: str | None = None
) -> AnnData:
    """Name the genes of another species, such as mouse, by their human orthologues.

    SE-600M knows human genes alone. Only one-to-one pairs are used: a gene with several human orthologues, or one that
    shares its orthologue with another gene, is left out, because the model reads one value per gene.

    Parameters
    ----------
    adata
        Cells × genes of the other species. It is not modified.
    table
        Two columns, or the path of a file with two (``.csv``, ``.tsv`` or ``.txt``, also with ``.gz``; with or without
        names of the columns): the gene in ``adata`` and its human orthologue, as symbols or Ensembl ids. Rows without
        one of them are skipped. Ensembl BioMart exports such a table (see Notes).
    gene_column
        Column of ``var`` with the names or ids that are in the table's first column. By default, ``var_names`` or the
        column with text that has most of them.

    Returns
    -------
    AnnData
        A copy with the columns that have a one-to-one orthologue, in memory. ``var_names`` are the human genes,
        ``var["orthologue_of"]`` has the names in ``adata``, and ``uns["orthologues"]`` the numbers of genes that were
        mapped, left out as ambiguous, and not found. ``.raw`` is left out.

    Raises
    ------
    DataError
        The table can't be read or has not two columns, none of its genes is in ``adata``, or a gene that is mapped
        stands in several columns of ``adata``.
    DestinationExistsError
        ``adata`` has ``var["orthologue_of"]`` or ``uns["orthologues"]`` already.

    Warns
    -----
    DataWarning
        Genes of ``adata`` were left out because their orthologues are ambiguous.

    Notes
    -----
    No table is packaged. To get one from Ensembl: open https://www.ensembl.org/biomart, choose the database "Ensembl
    Genes" and the dataset "Mouse genes"; as attributes (page "Homologues"), choose "Gene name" (or "Gene stable ID")
    and "Human gene name" (or "Human gene stable ID"); export the results as CSV with unique results only.

    Examples
    --------
    >>> import pandas as pd
    >>> mouse = adata.copy()
    >>> mouse.var_names = [name.capitalize() for name in adata.var_names]
    >>> table = pd.DataFrame({"mouse": mouse.var_names, "human": adata.var_names})  # or the path of a file
    >>> human = se600m.map_orthologues(mouse, table)
    >>> se600m.embed(human)
    >>> mouse.obsm["X_state"] = human.obsm["X_state"]
    """
    _anndata.check(adata, layer=None, use_raw=False, gene_column=gene_column)
    for part, key in (("var", _NAMES), ("uns", _COUNTS)):
        if key in getattr(adata, part):
            raise errors.DestinationExistsError(
                f"adata.{part}[{key!r}] exists, where the result would have its own: rename it, or remove it"
            )
    pairs = _pairs(table)
    one_to_one = pairs[~pairs["from"].duplicated(keep=False) & ~pairs["to"].duplicated(keep=False)]
    human = dict(zip(one_to_one["from"], one_to_one["to"], strict=True))
    known = set(pairs["from"])
    columns = _var.gene_columns(adata.var, gene_column)
    column = max(columns, key=lambda one: sum(name in known for name in one.names))  # of equals, the first
    names = np.array(column.names, object)
    if not any(name in known for name in names):
        example = pairs["from"].iloc[-1]  # the first may be the name of the column
        raise errors.DataError(
            f"none of the genes in the first column of the table, such as {example!r}, is in "
            f"{' or '.join(one.column for one in columns)}, where genes are named like {names[0]!r}: give a table "
            "whose first column has the names of this data set, spelled as they are there"
        )
    mapped = np.array([name in human for name in names], bool)
    ambiguous = np.array([name in known and name not in human for name in names], bool)
    _check_repeated(names[mapped], column.column)
    if not mapped.any():
        n = int(ambiguous.sum())
        raise errors.DataError(
            f"{'the only gene' if n == 1 else f'none of the {n:,} genes'} of the data set that {verb(n, 'are')} in the "
            f"table has {'no' if n == 1 else 'a'} one-to-one orthologue: {'it' if n == 1 else 'each'} has several, or "
            "shares one. Choose one pair for each gene in the table"
        )
    _tell(names, mapped, ambiguous, pairs, column.column)
    return _renamed(adata, mapped, names, human, int(ambiguous.sum()))


def _pairs(table: Any) -> pd.DataFrame:
    """Read a table as text: the columns ``from`` and ``to``, each pair once, without gaps."""
    where = "the table of orthologues"
    if isinstance(table, str | os.PathLike):
        path = Path(table).expanduser()
        where = f"the table {str(path)!r}"
        table = _read(path, where)
    if not isinstance(table, pd.DataFrame):
        raise errors.OptionError(
            f"the table of orthologues is {_not_anndata.what_it_is(table)}: give a DataFrame with two columns, or the "
            "path of a file with two"
        )
    if table.shape[1] not in (0, 2):
        raise errors.DataError(
            f"{where} has {many(table.shape[1], 'column')} ({', '.join(map(repr, map(str, table.columns[:6])))}): give "
            "the two with the gene in the data set and its human orthologue, in this order, such as "
            "table[['Gene name', 'Human gene name']]"
        )
    pairs: pd.DataFrame = table.set_axis(["from", "to"][: table.shape[1]], axis=1)
    pairs = pairs[pairs.notna().all(axis=1)].astype(str).apply(lambda names: names.str.strip())
    pairs = pairs[(pairs != "").all(axis=1)].drop_duplicates()
    if pairs.empty:
        raise errors.DataError(f"{where} has no pair of genes")
    return pairs


def _read(path: Path, where: str) -> pd.DataFrame:
    """Read a table from a file, by the separator of its first line.

    That line is read as a pair as well: if it has names of columns, which are no genes, the pair is never used.
    """
    suffix = next((s for s in reversed(path.suffixes) if s != ".gz"), "")
    if suffix not in _SUFFIXES:
        raise errors.OptionError(f"{where} ends in {suffix!r}: give a file that ends in .csv, .tsv or .txt")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            text = file.read()
        first = text.lstrip().partition("\n")[0]
        if not first:
            return pd.DataFrame()
        separator = next((one for one in "\t,;" if one in first), ",")
        table = pd.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        raise errors.DataError(f"{where} can't be read: {_files.reason(error)}") from error
    return table.set_axis(table.iloc[0], axis=1)


def _check_repeated(names: npt.NDArray[np.object_], column: str) -> None:
    counted = pd.Series(names).value_counts()
    if (repeated := counted[counted > 1]).size:
        raise errors.DataError(
            f"{many(len(repeated), 'gene')} with an orthologue {verb(len(repeated), 'are')} in several columns, such "
            f"as {repeated.index[0]!r} in {repeated.iloc[0]} ({column}): add these columns up, or drop all but one"
        )


def _tell(
    names: npt.NDArray[np.object_],
    mapped: npt.NDArray[np.bool_],
    ambiguous: npt.NDArray[np.bool_],
    pairs: pd.DataFrame,
    column: str,
) -> None:
    log.info("%s of %s (%s) have a one-to-one orthologue", f"{mapped.sum():,}", many(len(names), "gene"), column)
    if not ambiguous.any():
        return
    first, n = names[ambiguous][0], int(ambiguous.sum())
    targets = pairs.loc[pairs["from"] == first, "to"].tolist()
    if len(targets) > 1:
        why = f"{first!r}, which has {' and '.join(map(repr, targets[:3]))}"
    else:
        others = [name for name in pairs.loc[pairs["to"] == targets[0], "from"] if name != first]
        why = f"{first!r}, which shares {targets[0]!r} with {others[0]!r}"
    warn(
        f"{many(n, 'gene')} of the data set {verb(n, 'are')} left out, because {'its' if n == 1 else 'their'} human "
        f"orthologues are ambiguous, such as {why}: only one-to-one pairs are used"
    )


def _renamed(
    adata: AnnData,
    mapped: npt.NDArray[np.bool_],
    names: npt.NDArray[np.object_],
    human: dict[str, str],
    n_ambiguous: int,
) -> AnnData:
    made = _destination.target(adata[:, mapped], copy=True)
    if made.raw is not None:
        del made.raw
    made.var_names = [human[name] for name in names[mapped]]
    made.var[_NAMES] = names[mapped].astype(str)
    made.uns[_COUNTS] = {
        "n_mapped": int(mapped.sum()),
        "n_ambiguous": n_ambiguous,
        "n_not_found": len(names) - int(mapped.sum()) - n_ambiguous,
    }
    return made

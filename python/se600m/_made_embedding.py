"""The embedding of cells for a table: the one that they have, if it is as asked for, or one that is made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from se600m import _cells, _journal, _keep, _nearest, _options, _resumable, errors
from se600m._cells import Cells
from se600m._embedding import Embedding
from se600m._file_run import FileRun, Opening
from se600m._options import CellOptions
from se600m._resumable import Task

_OF_SPEED = ("batch_size", "threads", "progress")
"""Options that can't change a result."""

CheckTable = Callable[[int, int, Mapping[str, Any]], Any]
"""Makes sure that a table takes a number of cells with embeddings of a width that are made as noted."""


# -- the one that cells have -------------------------------------------------------------------


def check_as_asked(
    noted: Mapping[str, Any], use_rep: str, opening: Opening, chosen: CellOptions, given: Iterable[str]
) -> None:
    """Make sure that the embedding that cells have is the one that is asked for.

    Parameters
    ----------
    noted
        What is noted about it.
    opening, chosen
        How an embedding would be made.
    given
        The options of ``chosen`` that were named.

    Raises
    ------
    OptionError
        It was made with other options, or it is not noted with which.
    DataError
        It was made by another model.
    """
    if opening.model is not None:
        _check_model(noted, opening, chosen.progress)
    asked = {name: getattr(chosen, name) for name in given if name not in _OF_SPEED}
    if opening.device != "auto":
        asked["device"] = _options.devices(opening.device)
    if opening.precision != "auto":
        asked["precision"] = opening.precision
    made = {"device" if name == "provider" else name: value for name, value in noted.items()}
    wrong = [name for name, value in asked.items() if not _is_as_asked(name, value, chosen, made)]
    if not wrong:
        return
    had = [_had(name, made[name]) for name in wrong if name in made]
    how = f"was made with {' and '.join(had)}" if had else "has no record of how it was made"
    listed = " and ".join("genes=..." if name == "genes" else f"{name}={asked[name]!r}" for name in wrong)
    them = "it" if len(wrong) == 1 else "them"
    model = "" if opening.model is not None else "model=... and "
    raise errors.OptionError(
        f"{listed} would have no effect: the embedding in obsm[{use_rep!r}] {how}. Leave {them} out to "
        f"take the embedding as it is, or give {model}another use_rep=..., under which the cells are embedded first"
    )


def _is_as_asked(name: str, value: Any, chosen: CellOptions, made: Mapping[str, Any]) -> bool:
    """Whether an embedding is as one made with an option, by what is noted of it."""
    if (name in ("fill", "gene_column") and value in ("auto", None)) or (name == "strict" and not value):
        return True  # whichever it was
    if name not in made:
        return False
    if name == "seed" and str(made.get("fill")) in ("expected", "none"):
        return True  # nothing was drawn
    if name == "min_coverage":
        return bool(float(made[name]) >= value)
    if name == "device":
        return _resumable.kind_of(value) == _resumable.kind_of(str(made[name]))
    wanted = f"var[{value!r}]" if name == "gene_column" else chosen.provenance().get(name, value)
    return str(made[name]) == str(wanted)


def _had(name: str, value: Any) -> str:
    if name == "genes":
        return "all genes" if str(value) == "all" else "other genes"
    if name == "gene_column":
        return f"the names of genes in {value}"
    if name == "layer" and not str(value):
        return "no layer"
    return f"{name}={value.item() if isinstance(value, np.generic) else value!r}"


def _check_model(noted: Mapping[str, Any], opening: Opening, progress: bool | None) -> None:
    wanted = opening.open(progress).provenance()
    if str(noted.get("model_checksum")) != wanted["model_checksum"]:
        raise errors.DataError(
            f"the cells have an embedding by another model{_nearest.model_of(noted)} than model={wanted['model']!r}: "
            "leave model out to take it as it is, or embed them again with se600m.embed"
        )


# -- one that is made --------------------------------------------------------------------------


@contextmanager
def made_for(
    adata: AnnData,
    cells: Any,
    use_rep: str,
    opening: Opening,
    chosen: CellOptions,
    place: Path,
    check: CheckTable,
    **how: Any,
) -> Iterator[None]:
    """Embed cells; what is made of them is kept until the block, which puts it into a table, ends without an error.

    Parameters
    ----------
    adata
        What gets the embedding, and what is noted about it.
    cells
        The cells: an AnnData, or the path of a file.
    chosen
        The options for the embedding.
    place
        An embedding of a file is kept in this file, and its rows beside it, from which an interrupted run goes on.
    check
        Is called before anything is computed.
    how
        ``modality``, ``resume``, ``overwrite`` and ``memory``, for a file.

    Raises
    ------
    DestinationError
        The block failed; the embedding of an AnnData was saved in a file, which is named.
    """

    def checked(of: Cells) -> None:
        fill = of.plan()["fill"]
        noted = {**of.opened.provenance(), **of.options.provenance(), "fill": fill, "with_dataset_embedding": False}
        check(of.n_cells, of.opened.output_dim, noted)

    if isinstance(cells, AnnData):
        of = Cells(opening.open(chosen.progress), cells, chosen)
        checked(of)
        made = _cells.embed(of)
        adata.obsm[use_rep], adata.uns[use_rep] = made.embedding, made.provenance
        with _keep.kept_on_failure(made.embedding, None, use_rep, "the table"):
            yield
        return
    _resumable.check_found(place, resume=how["resume"], overwrite=how["overwrite"])
    if place.exists() and not _journal.folder_of(place).exists():
        raise errors.DestinationExistsError(
            f"{str(place)!r} exists, where the embedding would be kept until it is in the table: remove or rename it"
        )
    with FileRun(cells, place, _ForTable(use_rep, checked), opening, chosen, **how).rows_kept() as report:
        adata.obsm[use_rep] = np.load(place, mmap_mode="r")
        adata.uns[use_rep] = report["provenance"] | {"with_dataset_embedding": False}
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


class _ForTable(Embedding):
    """Embeddings for a table, which is looked at before they are computed."""

    def __init__(self, use_rep: str, check: Callable[[Cells], None]) -> None:
        super().__init__(use_rep, with_dataset=False, overwrite=False, part=None)
        self._check_table = check

    def task(self, cells: Cells) -> Task:
        self._check_table(cells)
        return super().task(cells)

"""Nearest cells by their embeddings, and label transfer from labelled cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata import AnnData

from se600m import _destination, _nearest, _not_anndata, errors
from se600m._nearest import NearestCells
from se600m._options import KEY, whole
from se600m._representations import Representation
from se600m._words import many


def nearest(
    adata: AnnData,
    reference: AnnData | None = None,
    *,
    k: int = 15,
    use_rep: str = KEY,
    threads: int | None = None,
    progress: bool | None = None,
) -> NearestCells:
    """Find the nearest cells of every cell, by the cosine distance of their embeddings.

    The search is exact. If cells have the same distance, the one in the earlier row comes first.

    Parameters
    ----------
    adata
        Cells with an embedding in ``obsm[use_rep]``.
    reference
        Cells to search, with an embedding by the same model. By default, or with ``adata`` itself, the other
        cells of ``adata`` are searched; a cell is never its own neighbour.
    k
        Number of nearest cells to find.
    use_rep
        Key of the embedding in ``obsm`` of both; its values are converted to float32. Other representations,
        such as ``"X_pca"``, can be used as well. What is not in memory (:func:`anndata.experimental.read_lazy`, arrays
        of dask or zarr, datasets of h5py) is read in blocks of 128 MB: the reference once for every block of ``adata``.
    threads
        Number of threads; all cores by default. It affects the speed, not the result.
    progress
        Show a progress bar; by default in notebooks and terminals.

    Returns
    -------
    NearestCells
        ``indices``, int64, and ``distances``, float64, both ``[n_cells, k]``. The distance to a row of
        zeros, which has no direction, is 1.

    Raises
    ------
    OptionError
        ``k`` is not between 1 and the number of cells that can be found.
    DataError
        An embedding is missing or is not a matrix, or the two have different widths.
    NotFiniteError
        An embedding has a NaN or infinite value.

    Warns
    -----
    DataWarning
        The two were embedded with different models, precisions, fill policies, seeds or choices of genes, according to
        ``uns[use_rep]``. Distances between different models are meaningless; the other differences add noise.

    Examples
    --------
    The five cells that are most similar to the first cell:

    >>> se600m.embed(adata)
    >>> found = se600m.nearest(adata, k=5)
    >>> found.indices.shape
    (100, 5)
    >>> list(adata.obs["cell_type"].iloc[found.indices[0]])
    ['CD14+ Monocyte', 'CD14+ Monocyte', 'CD14+ Monocyte', 'CD14+ Monocyte', 'Dendritic']
    """
    search = _Search(adata, adata if reference is None else reference, use_rep)
    k = search.checked_k(k, search.reference.n_cells, "cell")
    found = NearestCells(np.empty((adata.n_obs, k), np.int64), np.empty((adata.n_obs, k), np.float64))
    for rows, nearest_cells in search.run(k, None, threads, progress, "Finding nearest cells"):
        found.indices[rows], found.distances[rows] = nearest_cells.indices, nearest_cells.distances
    return found


def transfer_labels(
    adata: AnnData,
    reference: AnnData,
    key: str,
    *,
    k: int = 15,
    use_rep: str = KEY,
    weights: str = "uniform",
    key_added: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    copy: bool = False,
    overwrite: bool = False,
) -> AnnData | None:
    """Label cells by a majority vote of their nearest cells in a labelled reference.

    Parameters
    ----------
    adata
        Cells to label, with an embedding in ``obsm[use_rep]``.
    reference
        Labelled cells, with an embedding by the same model. This may be ``adata`` itself, to fill in missing
        labels or to find labels that the neighbours do not support. A cell does not vote for itself.
    key
        Column of ``reference.obs`` with the labels: categories, text, whole numbers or bools. Cells
        without a label (NaN) are not searched, so that ``k`` labelled cells always vote.
    k
        Number of nearest cells that vote.
    use_rep
        Key of the embedding in ``obsm`` of both; its values are converted to float32.
    weights
        ``"uniform"``: all votes have the same weight, as in ``scanpy.tl.ingest`` and by default in
        scikit-learn's ``KNeighborsClassifier``. ``"similarity"``: the weight is 1 - cosine distance, at least 0.
    key_added
        Column of ``adata.obs`` in which the labels are stored; ``key`` by default.
    threads
        Number of threads; all cores by default. It affects the speed, not the result.
    progress
        Show a progress bar; by default in notebooks and terminals.
    copy
        Return a copy with the labels instead of modifying ``adata``. The copy of a backed AnnData is in memory.
    overwrite
        Replace existing columns that se600m did not write; without it, they are an error. Labels that were
        transferred by se600m are always replaced.

    Returns
    -------
    AnnData or None
        The copy if ``copy=True``, otherwise None. These columns are written:

        ``obs[key_added]``
            The label with most votes, categorical with the reference's categories. In a tie, the first category.
        ``obs[key_added + "_confidence"]``
            Share of the votes for this label, from 0 to 1, float32.

        A cell whose neighbours' votes all have weight 0 (only with ``"similarity"``) gets no label (NaN) and
        confidence 0. After an error or Ctrl-C nothing is written.

    Raises
    ------
    OptionError
        ``k`` is not between 1 and the number of labelled cells, ``weights`` is unknown, or ``key_added`` can't be the
        name of a column, such as that of the index.
    DestinationExistsError
        A column of the result already exists.
    DataError
        An embedding is missing or is not a matrix, the two have different widths, or there are no labels.
    NotFiniteError
        An embedding has a NaN or infinite value.

    Warns
    -----
    DataWarning
        The two were embedded with different models, precisions, fill policies, seeds or choices of genes, according to
        ``uns[use_rep]``.

    Examples
    --------
    >>> se600m.embed(reference)
    >>> se600m.embed(adata)
    >>> se600m.transfer_labels(adata, reference, "cell_type", key_added="predicted")
    >>> uncertain = adata[adata.obs["predicted_confidence"] < 0.5]  # cells with uncertain labels
    >>> uncertain.n_obs
    18
    """
    _check_kind(adata, "adata")
    _check_kind(reference, "reference")
    if reference is not adata and (unheld := _destination.unheld(adata, copy)) is not None:
        del adata
        adata = unheld.taken_back()
    vote = Vote(adata, reference, key, k=k, use_rep=use_rep, weights=weights)
    written = key if key_added is None else key_added
    _destination.check_labels(adata, written, overwrite=overwrite, copy=copy)
    result = _destination.target(adata, copy)
    columns = zip(_destination.labels_of(written), vote(threads, progress), strict=True)
    _destination.write(result, {"obs": dict(columns)})
    return result if copy else None


class Vote:
    """A vote of nearest cells on labels (see :func:`transfer_labels`). What is given is checked when it is made."""

    def __init__(self, adata: AnnData, reference: AnnData, key: str, *, k: int, use_rep: str, weights: str) -> None:
        self._search = _Search(adata, reference, use_rep)
        self._labels = _labels(reference, key)
        self._codes = np.ascontiguousarray(self._labels.codes, np.int32)
        _nearest.check_weights(weights)
        self._k = self._search.checked_k(k, int(np.count_nonzero(self._codes >= 0)), "labelled cell")
        self._weights, self._title = weights, f"Transferring {key}"

    def __call__(
        self, threads: int | None, progress: bool | None
    ) -> tuple[pd.Categorical[Any], npt.NDArray[np.float32]]:
        """Give the label of every cell, and the share of the votes for it."""
        n_cells, labels = self._search.queries.n_cells, self._labels
        winners, confidence = np.empty(n_cells, np.int32), np.empty(n_cells, np.float32)
        for rows, found in self._search.run(self._k, self._codes >= 0, threads, progress, self._title):
            n_labels = len(labels.categories)
            _nearest.vote(found, self._codes, n_labels, self._weights, winners[rows], confidence[rows])
        return pd.Categorical.from_codes(winners, dtype=labels.dtype), confidence


class _Search:
    """Two sets of cells to compare, checked."""

    def __init__(self, adata: AnnData, reference: AnnData, use_rep: str) -> None:
        self.adata, self.reference_adata, self.use_rep = adata, reference, use_rep
        self.within = reference is adata
        self.queries = _representation(adata, "adata", use_rep)
        self.reference = self.queries if self.within else _representation(reference, "reference", use_rep)
        _check_models(self)

    def checked_k(self, k: int, n: int, what: str) -> int:
        """Check k against the number of cells there are to find."""
        where = "adata" if self.within else "reference"
        most = n - self.within
        itself = ", and a cell is not its own neighbour" if self.within else ""
        k = whole("k", k, 1)
        if k > most:
            raise errors.OptionError(f"k={k} is too large: {where} has {many(n, what)}{itself}")
        return k

    def run(
        self,
        k: int,
        among: npt.NDArray[np.bool_] | None,
        threads: int | None,
        progress: bool | None,
        title: str,
    ) -> Iterator[tuple[slice, NearestCells]]:
        """Yield the nearest cells of some cells after others, among all cells of the reference or some."""
        numbers = np.arange(self.reference.n_cells, dtype=np.int64)
        if among is not None:
            numbers[~among] = -1

        def reference() -> Iterator[tuple[int, _nearest.Numbered]]:
            for first, rows in self.reference.blocks():
                yield first, (numbers[first : first + len(rows)], rows)

        try:
            yield from _nearest.search(
                self.queries,
                reference,
                len(numbers),
                progress,
                title,
                k=k,
                leave_out_self=self.within,
                threads=threads,
            )
        except errors.NotFiniteError as error:
            raise self._not_finite(error) from None

    def _not_finite(self, error: errors.NotFiniteError) -> errors.NotFiniteError:
        """Name a value that is not finite as its owner knows it."""
        in_reference = error.in_reference and not self.within  # type: ignore[attr-defined]
        name, cells = ("reference", self.reference_adata) if in_reference else ("adata", self.adata)
        cell = error.cell  # type: ignore[attr-defined]
        return _nearest.not_finite(f"{name}.obsm[{self.use_rep!r}][{cell}] (cell {cells.obs_names[cell]!r})")


def _check_kind(adata: Any, name: str) -> None:
    if not isinstance(adata, AnnData):
        raise errors.DataError(f"{name} must be an AnnData with embedded cells, not {_not_anndata.what_it_is(adata)}")


def _representation(adata: AnnData, name: str, use_rep: str) -> Representation:
    _check_kind(adata, name)
    return Representation(adata, name, use_rep)


def _check_models(search: _Search) -> None:
    """Refuse embeddings of different widths; warn of different models."""
    key = search.use_rep
    widths = [search.queries.width, search.reference.width]
    made_with = [_nearest.made_with(search.adata, key), _nearest.made_with(search.reference_adata, key)]
    models = [_nearest.model_of(noted) for noted in made_with]
    if widths[0] != widths[1]:
        raise errors.DataError(
            f"adata.obsm[{key!r}] is {widths[0]} wide{models[0]}, reference.obsm[{key!r}] {widths[1]}{models[1]}: "
            "embed both with the same model"
        )
    _nearest.warn_of_differences(("adata", made_with[0]), ("reference", made_with[1]))


def _labels(reference: AnnData, key: str) -> pd.Categorical[Any]:
    if key not in reference.obs.columns:
        raise errors.DataError(f"key={key!r} is not in reference.obs, which has {list(reference.obs.columns)}")
    column = reference.obs[key]
    if pd.api.types.is_float_dtype(column):
        raise errors.DataError(
            f"reference.obs[{key!r}] has numbers ({column.dtype}), not labels: if they are names of groups, convert "
            f"them with reference.obs[{key!r}] = reference.obs[{key!r}].astype('category')"
        )
    labels = pd.Categorical(column)
    kind = getattr(labels.categories.dtype, "numpy_dtype", None)
    if kind is not None:  # whole numbers beside missing ones: as categories they are plain again, and can be written
        labels = labels.rename_categories(labels.categories.astype(kind))
    if not (labels.codes >= 0).any():
        raise errors.DataError(f"no cell of the reference has a label in reference.obs[{key!r}]")
    return labels

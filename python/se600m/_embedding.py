"""What is made of the cells of a file that are embedded, and what is known of it in the end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se600m import _destination, _journal, _outputs, _picture, _shards, errors
from se600m._cells import Cells
from se600m._copying import Copy
from se600m._file_run import Work
from se600m._inputs import Input
from se600m._opened import Opened
from se600m._resumable import Done, Task


@dataclass(frozen=True)
class EmbeddedFile:
    """Cells of a file that were embedded into a file.

    Attributes
    ----------
    path
        The file that was written.
    n_cells, n_columns
        Shape of the embedding.
    report
        How the run went: input, output, model, options, what was seen of the cells, warnings, seconds of each step,
        cells per second, peak memory. Text, numbers, lists and dictionaries, as ``--report`` writes them.
    """

    path: Path
    n_cells: int
    n_columns: int
    report: dict[str, Any]


class Embedding(Work):
    """Embeddings, in ``obsm`` or alone."""

    suffixes = _outputs.SUFFIXES

    def __init__(
        self, key: str, with_dataset: bool, overwrite: bool, part: _shards.Shard | None, which: str = ""
    ) -> None:
        self._key, self._with_dataset, self._overwrite, self._part = key, with_dataset, overwrite, part
        self._which = which
        """What is said of the input in the title, where there are several."""
        self._earlier: Any = None
        self._apart = False
        self.n_columns = 0

    def check(self, given: Input, suffix: str) -> int:
        _outputs.check_key(suffix, self._key)
        if suffix not in (".h5ad", ".zarr"):
            return 0
        self._earlier = given.under(self._key)
        self._check_earlier(dataset=False)
        _outputs.check(suffix, given)
        return given.size

    def _check_earlier(self, *, dataset: bool) -> None:
        if self._earlier is not None:
            options = {"overwrite": self._overwrite, "copy": False}
            _destination.check_embedding(self._earlier, self._key, dataset=dataset, **options)

    def bytes_per_row(self, opened: Opened) -> int:
        if self._with_dataset and not opened.dataset_dim:
            raise errors.NotInModelError(
                f"with_dataset_embedding=True, but model {opened.name!r} has no dataset embedding: leave it out"
            )
        self._apart = opened.dataset_dim > 0 and not self._with_dataset
        self._check_earlier(dataset=self._apart)
        self.n_columns = opened.output_dim + (opened.dataset_dim if self._with_dataset else 0)
        return 4 * (opened.output_dim + opened.dataset_dim)

    def task(self, cells: Cells) -> Task:
        opened = cells.opened
        arrays = {"embedding": _journal.Array("float32", (opened.output_dim,))}
        if opened.dataset_dim:
            arrays["dataset_embedding"] = _journal.Array("float32", (opened.dataset_dim,))
        more = {"batch_size": cells.options.batch_size or 0}
        return Task("embed", f"Embedding{self._which} with {opened.name}", arrays, more)

    def copied_early(self, given: Input, suffix: str) -> Path | None:
        return _outputs.copied_early(suffix, given)

    def picture(self, given: Input, done: Done) -> _picture.Picture | None:
        first = 0 if self._part is None else self._part.rows(given.n_obs)[0]
        return _picture.draw(done.journal.rows("embedding"), lambda cells: given.groups(cells + first))

    def assemble(self, draft: Path, suffix: str, given: Input, cells: Cells, done: Done, copy: Copy | None) -> None:
        provenance = cells.provenance(done.seen) | {"with_dataset_embedding": self._with_dataset}
        journal = done.journal
        if self._part is not None:
            shown = {"source": os.path.abspath(given.place), "key": self._key}
            _shards.write(draft, journal, self._part, given.n_obs, provenance, shown)
            return
        arrays = {name: journal.rows(name) for name in journal.arrays}
        earlier = self._earlier
        left = [] if earlier is None else _destination.stale(earlier, self._key, self._apart)
        _outputs.write(draft, suffix, given, result(self._key, arrays, provenance, left), copy)


def result(key: str, arrays: dict[str, Any], provenance: dict[str, Any], drop: list[str]) -> _outputs.Result:
    """Name arrays of rows as ``obsm`` does, and note their widths."""
    rows = list(arrays.values())
    if provenance["with_dataset_embedding"]:
        rows = [_outputs.SideBySide(rows)]
    named = dict(zip((key, f"{key}_dataset"), rows, strict=False))
    widths = _destination.widths_of(rows[0].shape[1], sum(more.shape[1] for more in rows[1:]))
    return _outputs.Result(named, {key: provenance | widths}, drop)

"""Contextual gene embeddings of the cells of a file, into a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from se600m import _contextual, _files, _journal, _options, _outputs, _trees, errors
from se600m._cells import Cells
from se600m._copying import Copy
from se600m._embed import ModelLike
from se600m._file_run import FileRun, Opening, PathLike, Work
from se600m._inputs import Input
from se600m._opened import Opened
from se600m._options import Devices, GeneKeywords, Precision
from se600m._resumable import Done, Task
from se600m._slots import SlotTask


@dataclass(frozen=True)
class ContextualFile:
    """Contextual gene embeddings that were written to a file.

    Attributes
    ----------
    path
        The file or zarr group that was written.
    shape
        Shape of the vectors: cells, genes or slots, and ``emsize``.
    genes
        Symbols of the genes, in their order in the file; None where it has every slot.
    report
        How the run went (see :class:`EmbeddedFile`).
    """

    path: Path
    shape: tuple[int, int, int]
    genes: list[str] | None
    report: dict[str, Any]


@_options.accepts(GeneKeywords)
def contextual_file(
    src: PathLike,
    dst: PathLike,
    genes: Iterable[str] | str | None = None,
    *,
    model: ModelLike = None,
    checkpoint: str | None = None,
    protein_embeddings: PathLike | None = None,
    device: Devices = "auto",
    precision: Precision = "auto",
    modality: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    memory: int | str = _options.MEMORY,
    report: PathLike | None = None,
    **options: Unpack[GeneKeywords],
) -> ContextualFile:
    """Compute contextual gene embeddings of every cell of a file, in a run that can be resumed.

    The vectors are those of :meth:`Model.contextual_gene_embeddings`, bit for bit. As with :func:`embed_file`, the
    matrix stays on the disk, about once a minute the vectors are added to the folder ``dst + ".partial"``, and ``dst``
    appears whole in the end. All slots of SE-600M take 16.8 MB per cell; selected genes take 8 kB per cell and gene.
    In the end, they are on the disk twice.

    Parameters
    ----------
    src
        See :func:`embed_file`; one file.
    dst
        What is written, by its suffix. ``.zarr``: the group that :meth:`Model.contextual_gene_embeddings` writes, with
        the arrays ``embeddings`` and, without ``genes``, ``gene_indices`` (requires the extra ``zarr``). ``.npy``: the
        vectors of ``genes`` alone, ``[n_cells, k, emsize]``.
    genes
        Gene symbols or Ensembl ids. By default, all slots of each cell's sentence.
    model, checkpoint, protein_embeddings, device, precision, modality, resume, overwrite, memory, report
        See :func:`embed_file`.
    layer, use_raw, gene_column, expression, fill, seed, batch_size, threads, min_coverage, strict, progress
        See :func:`embed`. All genes enter the sentences.

    Returns
    -------
    ContextualFile
        What was written, and how the run went.

    Raises
    ------
    UnknownGeneError
        The model does not know one of ``genes``.
    SE600MError
        As for :func:`embed_file`.

    Examples
    --------
    >>> adata.write_h5ad("cells.h5ad")
    >>> done = se600m.contextual_file("cells.h5ad", "genes.npy", ["CD3D", "LYZ"], model="se-mini")
    >>> done.shape, done.genes
    ((100, 2, 128), ['CD3D', 'LYZ'])
    """
    chosen = _options.cell_options("contextual_file", GeneKeywords, options)
    work = _Contextual(genes)
    opening = Opening(model, device, precision, checkpoint, protein_embeddings)
    how: dict[str, Any] = {"modality": modality, "resume": resume, "overwrite": overwrite, "memory": memory}
    run = FileRun(src, dst, work, opening, chosen, report=report, **how)
    _files.check_other_than(src, dst, "IN", "the cells")
    work.check_suffix(Path(dst).suffix)
    made = run()
    return ContextualFile(Path(made["output"]), work.shape, work.symbols, made)


class _Contextual(Work):
    """Vectors of genes in cells."""

    suffixes = (".zarr", ".npy")

    def __init__(self, genes: Iterable[str] | str | None) -> None:
        _options.check_ordered("genes", genes)
        self._genes = None if genes is None else _options.gene_names(genes)
        self._tokens: npt.NDArray[np.int32] | None = None
        self._slots: SlotTask
        self.symbols: list[str] | None = None
        self.shape = (0, 0, 0)

    def check_suffix(self, suffix: str) -> None:
        """Make sure that the kind of file can hold the vectors, before the input is opened."""
        if suffix == ".zarr":
            _trees.zarr()
        elif self._genes is None:
            raise errors.OptionError(
                "OUT ends in .npy, which has no room for the genes that are in every slot: choose some (genes=...), or "
                "write .zarr"
            )

    def check(self, given: Input, suffix: str) -> int:
        return 0

    def bytes_per_row(self, opened: Opened) -> int:
        if self._genes is not None:
            self._tokens = opened.tokens_of(self._genes)
            self.symbols = [opened.genes[token] for token in self._tokens]
        n_places = opened.dimensions["pad_length"] if self._genes is None else len(self._genes)
        return 4 * n_places * (opened.dimensions["emsize"] + 1)

    def task(self, cells: Cells) -> Task:
        slots = self._slots = SlotTask(cells, self._tokens, cells.opened.dimensions["emsize"])
        n_cells, n_places, width = slots.shape
        self.shape = (n_cells, n_places, width)
        arrays = {"output": _journal.Array("float32", (n_places, width))}
        if self.symbols is None:
            arrays["gene_indices"] = _journal.Array("int32", (n_places,))
        named = "all" if self.symbols is None else _options.named_genes(self.symbols)
        title = f"Embedding genes with {cells.opened.name}"
        return Task("contextual", title, arrays, slots.request, {"genes": named})

    def assemble(self, draft: Path, suffix: str, given: Input, cells: Cells, done: Done, copy: Copy | None) -> None:
        rows = {name: done.journal.rows(name) for name in done.journal.arrays}
        if suffix == ".npy":
            _outputs.write_npy(draft, rows["output"])
            return
        made = _contextual.new_group(draft, cells.opened, self.shape, self._tokens)
        for name, array in zip(("output", "gene_indices"), made, strict=True):
            if array is not None:
                for part in _trees.parts(array):
                    array[part] = rows[name][part]

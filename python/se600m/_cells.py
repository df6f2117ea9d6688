"""Cells of an AnnData, through a model: their sentences and their embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from anndata import AnnData

from se600m import _anndata, _choices, _genes, _native, _progress, _survey, errors
from se600m._chunks import ArraySink, Job, Rest, Sink, Timings, run_chunks
from se600m._estimate import Run
from se600m._opened import Opened
from se600m._options import CellOptions
from se600m._report import Report


def check_fill(fills: Sequence[tuple[str, str]]) -> None:
    """Make sure that all cells of a collection are filled in one way: given are (name of a part, its fill policy).

    Raises
    ------
    OptionError
        ``"auto"`` is one policy for some parts, and another one for others.
    """
    first, chosen = fills[0]
    for name, fill in fills:
        if fill != chosen:
            raise errors.OptionError(
                f"fill='auto' is {chosen!r} for {first} and {fill!r} for {name}, whose embeddings can't be compared: "
                "choose one for all, such as fill='expected'"
            )


@dataclass(frozen=True)
class CellSentences:
    """Cells as the model reads them: one sentence of gene tokens per cell.

    Attributes
    ----------
    gene_indices
        Gene tokens, int32 ``[n_cells, S]``; slot 0 is ``[CLS]`` (``model.cls_index``).
    expression_values
        100 × each gene's share of the cell's summed log1p values, float32 ``[n_cells, S]``.
    multiplicity
        Number of equal tokens that a slot stands for, float32 ``[n_cells, S]``; 0 after the end of a sentence.
    lengths
        Number of slots in use, int32 ``[n_cells]``.
    share
        Share of each cell's total expression in genes that the model knows, float32 ``[n_cells]``.
    fill
        The fill policy that was used.
    """

    gene_indices: npt.NDArray[np.int32]
    expression_values: npt.NDArray[np.float32]
    multiplicity: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int32]
    share: npt.NDArray[np.float32]
    fill: str


@dataclass(frozen=True)
class CellEmbeddings:
    """Embedded cells.

    Attributes
    ----------
    embedding
        float32 ``[n_cells, output_dim]``, rows of unit length.
    dataset_embedding
        float32 ``[n_cells, dataset_dim]``, or None if the model has no dataset embedding.
    provenance
        How the embedding was made, as :func:`se600m.embed` stores it in ``adata.uns``: the model, every option
        that can change the result, the matched genes, and a summary of the values.
    """

    embedding: npt.NDArray[np.float32]
    dataset_embedding: npt.NDArray[np.float32] | None
    provenance: dict[str, Any]


@dataclass(frozen=True)
class CellChunk:
    """Some cells in memory, as a job reads them."""

    chunk: _anndata.Chunk
    first: int

    @property
    def n_cells(self) -> int:
        return int(self.chunk.n_cells)

    @property
    def request(self) -> dict[str, Any]:
        return {"matrix": self.chunk.request, "first_row": self.first}


class Cells:
    """The cells of an AnnData or of a file, with the gene token of every column: what jobs over cells read.

    Nothing is changed in the AnnData, and nothing of a file's matrix is read before a job runs.
    """

    def __init__(
        self,
        opened: Opened,
        cells: AnnData | _anndata.Expression,
        options: CellOptions,
        genes: tuple[npt.NDArray[np.int32], dict[str, Any]] | None = None,
    ) -> None:
        self.opened, self.options = opened, options
        self.source = cells if isinstance(cells, _anndata.Expression) else _anndata.read(cells, **options.source())
        self.n_cells = self.source.n_cells
        tokens, match = self._chosen() if genes is None else genes
        self.tokens = np.require(tokens, np.int32, ["C", "ALIGNED"])
        self.report = Report(self.source.where, self.n_cells, {**match, "features": self.source.features})

    def _chosen(self) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
        """Find the genes, all of which are judged; those that were chosen have tokens."""
        tokens, match = self._match()
        if self.options.genes is None:
            return tokens, match | {"chosen": None}
        opened = self.opened
        tokens, chosen = _genes.choose(opened.handle, opened.genes, self.source.columns, match, self.options.genes)
        try:
            _native.plan(opened.handle, tokens, self.options.fill)
        except errors.TooFewGenesError as error:
            what = str(error).partition(":")[0]
            raise errors.TooFewGenesError(f"genes=... leaves {what}: choose more of the model's genes") from None
        return tokens, match | {"chosen": chosen}

    def _match(self) -> tuple[npt.NDArray[np.int32], dict[str, Any]]:
        """Find the genes. If they are too few, the error tells what they carry, as far as that can be seen."""
        columns, least = self.source.columns, self.options.min_coverage
        try:
            return _genes.match(self.opened.handle, columns, least)
        except errors.GeneCoverageError:
            totals = self.source.totals()
            if totals is None:
                raise
        return _genes.match(self.opened.handle, columns, least, totals)

    def chunks(self, most: int | None = None) -> Iterator[tuple[int, CellChunk]]:
        """Give (first row, cells), at most some cells at a time."""
        for first, chunk in self.source.chunks(most):
            yield first, CellChunk(chunk, self.source.offset + first)

    def some(self, first: int, most: int) -> CellChunk:
        """Read cells from a given one on, at most some."""
        return CellChunk(self.source.some(first, most), self.source.offset + first)

    @property
    def request(self) -> dict[str, Any]:
        """The part of every job's request that describes how cells are read and sentences made."""
        options = self.options
        return {
            "model": self.opened.handle,
            "tokens": _native.array(self.tokens),
            "expression": options.expression,
            "fill": options.fill,
            "seed": options.seed,
            "threads": options.threads or 0,
        }

    def plan(self) -> dict[str, Any]:
        """Resolve the fill policy and find the longest sentence."""
        return _native.plan(self.opened.handle, self.tokens, self.options.fill)

    def run(
        self,
        kind: _native.Kind,
        sink: Sink,
        more: dict[str, Any],
        title: str,
        report: Callable[[int, CellChunk, dict[str, Any]], None] | None = None,
        rest: Rest | None = None,
        timings: Timings | None = None,
    ) -> None:
        """Run a job over all cells, with progress under a title; ``report`` takes what Go says of each chunk.

        ``rest`` reads the cells that are left to do, where others are done; ``timings`` adds up where time goes.
        """
        done = 0 if rest is None else rest.first
        with _progress.bar(self.options.progress, title, self.n_cells, run=self._run(), done=done) as update:
            job = Job(kind, self.request | more)
            run_chunks(rest or self, sink, job, progress=update, report=report, timings=timings)

    def add(self, first: int, chunk: CellChunk, said: dict[str, Any]) -> None:
        """Add what Go says of a chunk to the report."""
        self.report.add(first, chunk.chunk, said)

    def _run(self) -> Run:
        """Describe the run for an estimate of its time."""
        opened, threads = self.opened, self.options.threads
        n = threads or _choices.cores()
        where = "" if opened.device in ("cpu", "openvino") else f"{opened.device}, "
        return Run(
            f"{where}{n} core{'' if n == 1 else 's'}, {opened.precision}",
            lambda: _choices.faster(opened.device, opened.precision, opened.dimensions["emsize"], threads),
        )

    def survey(self, timings: Timings | None = None) -> None:
        """Look over all cells before anything is computed: complete the report, and say what is likely to be wrong.

        ``timings`` adds up where time goes.

        Raises
        ------
        NotFiniteError
            Values are NaN or infinite.
        SuspiciousDataError
            With ``strict=True``, instead of warnings.
        """
        with _progress.bar(self.options.progress, "Checking the cells", self.n_cells) as update:
            _survey.survey(self.source, self.report, self.request, update, timings)
        self.tell()

    def tell(self) -> None:
        """Log what was found in the data set, and warn of what is likely to be wrong, or raise it."""
        wrong = self.report.suspicious
        elsewhere = self.source.elsewhere() if wrong else None
        self.report.tell(self.options.expression, elsewhere, strict=self.options.strict)

    def genes_provenance(self) -> dict[str, Any]:
        """Give what is known of cells before their values are read: how their genes were found, and the fill policy."""
        plan = self.plan()
        return {"fill": plan["fill"], "n_valid": plan["n_valid"], **self.report.provenance_of_genes()}

    def provenance(self, seen: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give what results of these cells are made with; ``seen``: of cells that were surveyed by an earlier run."""
        return {
            **self.opened.provenance(),
            **self.options.provenance(),
            "matrix": self.source.where,
            **(self.report.provenance() if seen is None else seen),
        }


def embed(cells: Cells) -> CellEmbeddings:
    """Embed cells into new arrays."""
    opened = cells.opened
    cells.survey()
    embedding = np.empty((cells.n_cells, opened.output_dim), np.float32)
    dataset = np.empty((cells.n_cells, opened.dataset_dim), np.float32) if opened.dataset_dim else None
    outputs: dict[str, npt.NDArray[Any]] = {"embedding": embedding}
    if dataset is not None:
        outputs["dataset_embedding"] = dataset
    more = {"batch_size": cells.options.batch_size or 0}
    cells.run("embed", ArraySink(outputs), more, f"Embedding with {opened.name}")
    return CellEmbeddings(embedding, dataset, cells.provenance())


def tokenize(opened: Opened, adata: AnnData, options: CellOptions) -> CellSentences:
    """Turn cells into sentences. This is as quick as a survey, and reports the same."""
    cells = Cells(opened, adata, options)
    plan = cells.plan()
    shape = (cells.n_cells, plan["max_length"])
    sentences = CellSentences(
        gene_indices=np.empty(shape, np.int32),
        expression_values=np.empty(shape, np.float32),
        multiplicity=np.empty(shape, np.float32),
        lengths=np.empty(shape[0], np.int32),
        share=cells.report.share,
        fill=plan["fill"],
    )
    names = ("gene_indices", "expression_values", "multiplicity", "lengths", "share")
    sink = ArraySink({name: getattr(sentences, name) for name in names})
    try:
        cells.run("tokenize", sink, {"length": shape[1], **cells.report.columns}, "Tokenizing", cells.add)
    except errors.NotFiniteError:
        cells.survey()  # counts all such values, and names them
        raise
    cells.tell()
    return sentences

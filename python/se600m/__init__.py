"""State embeddings (SE-600M) of single cells, on AnnData.

>>> import se600m
>>> se600m.embed(adata)  # adata.obsm["X_state"], n_cells × output_dim
"""

from se600m import errors
from se600m._cells import CellEmbeddings, CellSentences
from se600m._contextual import ContextualGeneEmbeddings
from se600m._doctor import doctor
from se600m._embed import embed, tokenize
from se600m._embed_file import EmbeddedFile, TokenizedFile, embed_file, merge_shards, tokenize_file
from se600m._info import info
from se600m._model import Model, load_model
from se600m._models import convert
from se600m._native import version as _version
from se600m._neighbors import NearestCells, nearest, transfer_labels

__version__ = _version()
__all__ = [
    "CellEmbeddings",
    "CellSentences",
    "ContextualGeneEmbeddings",
    "EmbeddedFile",
    "Model",
    "NearestCells",
    "TokenizedFile",
    "convert",
    "doctor",
    "embed",
    "embed_file",
    "errors",
    "info",
    "load_model",
    "merge_shards",
    "nearest",
    "tokenize",
    "tokenize_file",
    "transfer_labels",
]

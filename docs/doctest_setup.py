"""What the examples find: each page runs these lines first, in a folder of its own."""

import os as _os
import tempfile as _tempfile
import warnings as _warnings

import scanpy as sc

import se600m

_warnings.simplefilter("ignore", se600m.errors.DataWarning)  # a panel of 765 genes has much that it warns of
_warnings.simplefilter("ignore", se600m.errors.DefaultModelWarning)
_warnings.simplefilter("ignore", FutureWarning)  # of the packages around it
_folder, _before = _tempfile.TemporaryDirectory(), _os.getcwd()
_os.chdir(_folder.name)


def _leave() -> None:
    """Go back, when the page is done."""
    _os.chdir(_before)
    _folder.cleanup()


# Log1p values of 700 blood cells: one in seven is new, the others are known.
_cells = sc.datasets.pbmc68k_reduced().raw.to_adata()
_cells.obs["cell_type"] = sc.datasets.pbmc68k_reduced().obs["bulk_labels"]
adata, reference = _cells[::7].copy(), _cells[3::7].copy()

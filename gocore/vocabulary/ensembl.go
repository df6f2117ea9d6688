package vocabulary

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The table of human Ensembl gene ids and symbols is GENCODE release 44's, as
// it stands in the Python package celltypist 1.7.1 (MIT licence, copyright its
// authors; data/samples/GENCODEv44_Gene_id2name.csv). Ids whose name is but an
// id were left out. tools/make_ensembl_table.py writes it: a line a gene,
// ascending, "number of the id<TAB>symbol".
//
//go:embed ensembl.tsv.gz
var ensemblTable []byte

// idDigits is the length of the number in an Ensembl id of a human gene.
const idDigits = 11

var symbolsByID = sync.OnceValue(func() map[uint64]string {
	symbols, err := readEnsemblTable(ensemblTable)
	if err != nil {
		panic(err) // the table is part of the program, and a test reads it
	}
	return symbols
})

func readEnsemblTable(packed []byte) (map[uint64]string, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("vocabulary: Ensembl table: %w", err)
	}
	symbols := make(map[uint64]string, 1<<16)
	lines := bufio.NewScanner(unpacked)
	for lines.Scan() {
		id, symbol, _ := strings.Cut(lines.Text(), "\t")
		number, err := strconv.ParseUint(id, 10, 64)
		if err != nil || symbol == "" {
			return nil, fmt.Errorf("vocabulary: Ensembl table: line %q: %w", lines.Text(), ErrVocabulary)
		}
		symbols[number] = symbol
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("vocabulary: Ensembl table: %w", err)
	}
	return symbols, nil
}

// SymbolOf gives the symbol of a human gene's Ensembl id, "ENSG" and eleven
// digits, with or without a version after a point ("ENSG00000167286.9"; GENCODE
// marks copies on chromosome Y with "_PAR_Y" behind it). It returns "" for
// anything else, and for ids without a symbol.
func SymbolOf(id string) string {
	digits, is := strings.CutPrefix(id, "ENSG")
	if !is || len(digits) < idDigits {
		return ""
	}
	if rest := digits[idDigits:]; rest != "" && rest[0] != '.' && rest[0] != '_' {
		return ""
	}
	number, err := strconv.ParseUint(digits[:idDigits], 10, 64)
	if err != nil {
		return ""
	}
	return symbolsByID()[number]
}

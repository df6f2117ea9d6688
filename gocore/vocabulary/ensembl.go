package vocabulary

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
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

// gencode are the symbols of GENCODE 44.
type gencode struct {
	byID map[uint64]string
	// known are all symbols.
	known map[string]struct{}
}

var ensembl = sync.OnceValue(func() gencode {
	table, err := readEnsemblTable(ensemblTable)
	if err != nil {
		panic(err) // the table is part of the program, and a test reads it
	}
	return table
})

func readEnsemblTable(packed []byte) (gencode, error) {
	table := gencode{make(map[uint64]string, 1<<16), make(map[string]struct{}, 1<<16)}
	err := readTable(packed, func(line string) error {
		id, symbol, _ := strings.Cut(line, "\t")
		number, err := strconv.ParseUint(id, 10, 64)
		if err != nil || symbol == "" {
			return ErrVocabulary
		}
		table.byID[number] = symbol
		table.known[symbol] = struct{}{}
		return nil
	})
	if err != nil {
		return gencode{}, fmt.Errorf("vocabulary: Ensembl table: %w", err)
	}
	return table, nil
}

// readTable reads a compressed table line by line, comments ("#") left out. What
// it hands out are parts of one string.
func readTable(packed []byte, read func(line string) error) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("not compressed by gzip: %w", err)
	}
	var text strings.Builder
	text.Grow(5 * len(packed))
	if _, err := io.Copy(&text, unpacked); err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := read(strings.TrimSuffix(line, "\n")); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
	}
	return nil
}

// humanID reads a human gene's Ensembl id, "ENSG" and eleven digits, with or
// without a version behind it ("ENSG00000167286.9"; GENCODE marks copies on
// chromosome Y with "_PAR_Y").
func humanID(name string) (number uint64, is bool) {
	digits, is := strings.CutPrefix(name, "ENSG")
	if !is || len(digits) < idDigits {
		return 0, false
	}
	if !isVersion(strings.TrimSuffix(digits[idDigits:], "_PAR_Y")) {
		return 0, false
	}
	number, err := strconv.ParseUint(digits[:idDigits], 10, 64)
	return number, err == nil
}

// isVersion tells whether what follows an id is its version, ".9" or "_9", or
// that of a lifted annotation, ".9_2"; or nothing.
func isVersion(rest string) bool {
	for range 2 {
		if rest == "" {
			return true
		}
		if rest[0] != '.' && rest[0] != '_' {
			return false
		}
		after := strings.TrimLeft(rest[1:], "0123456789")
		if len(after) == len(rest)-1 {
			return false
		}
		rest = after
	}
	return rest == ""
}

// SymbolOf gives the symbol of a human gene's Ensembl id, GENCODE's or else
// HGNC's. It returns "" for anything that is no such id (see [Vocabulary.Find]
// for their form), and for ids without a symbol.
func SymbolOf(id string) string {
	number, is := humanID(id)
	if !is {
		return ""
	}
	if symbol := ensembl().byID[number]; symbol != "" {
		return symbol
	}
	if g := hgnc().byID[number]; g != nil {
		return g.symbol
	}
	return ""
}

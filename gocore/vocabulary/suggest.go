package vocabulary

import (
	"slices"
	"strings"
)

// bare appends a name without case and punctuation: "HLA.A" and "hla-a" are both
// HLAA. R replaces hyphens by points.
func bare(to []byte, name string) []byte {
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z':
			to = append(to, c-'a'+'A')
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			to = append(to, c)
		}
	}
	return to
}

func (v *Vocabulary) fold() map[string]int32 {
	folded := make(map[string]int32, len(v.genes))
	for i, gene := range v.genes {
		key := string(bare(nil, gene))
		if _, taken := folded[key]; !taken && key != "" {
			folded[key] = int32(i)
		}
	}
	return folded
}

// Suggest finds the gene that a name which is not in the vocabulary may stand
// for: the same but for case and punctuation. It returns "" if there is none.
func (v *Vocabulary) Suggest(name string) string {
	var room [64]byte // thousands of names are looked up; few are longer
	key := bare(room[:0], name)
	if token, known := v.folded()[string(key)]; known {
		return v.genes[token]
	}
	return ""
}

// Suggestions finds genes that a name which is not in the vocabulary may stand
// for, the likeliest first: the same but for case and punctuation; then genes
// that have the name as an alias or had it as a symbol, as MS4A1 had CD20; then
// those that begin with it, as CD8A and CD8B begin with CD8.
func (v *Vocabulary) Suggestions(name string) []string {
	var found []string
	add := func(symbol string) {
		if symbol != "" && len(found) < nExamples && !slices.Contains(found, symbol) {
			found = append(found, symbol)
		}
	}
	add(v.Suggest(name))
	key := string(bare(nil, name))
	if len(key) < 2 {
		return found
	}
	for _, g := range aliases()[key] {
		if token := v.tokenOf(g); token != Unknown {
			add(v.genes[token])
		}
	}
	for _, symbol := range v.beginning(key) {
		add(symbol)
	}
	return found
}

// NamesOf lists the approved symbols of the human genes that have a name as their
// symbol, an earlier symbol or an alias, but for case and punctuation.
func NamesOf(name string) []string {
	if g := hgnc().named(name); g != nil {
		return []string{g.symbol}
	}
	var symbols []string
	for _, g := range aliases()[string(bare(nil, name))] {
		symbols = append(symbols, g.symbol)
	}
	return symbols
}

// beginning lists the genes whose bare symbols are a name and a letter, or, if
// the name ends in a letter, a number behind it: a name that ends in a number
// and goes on with one is another number.
func (v *Vocabulary) beginning(key string) []string {
	var list []string
	for _, symbol := range v.genes {
		rest, has := strings.CutPrefix(string(bare(nil, symbol)), key)
		if has && rest != "" && len(rest) <= 2 && (!isDigit(key[len(key)-1]) || !isDigit(rest[0])) {
			list = append(list, symbol)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		if d := len(a) - len(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return list
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

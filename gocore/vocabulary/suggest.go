package vocabulary

import "bytes"

// renamed are families of human genes that HGNC renamed in 2019 and 2020 because
// spreadsheets took their symbols for dates, both ways; a number follows.
var renamed = map[string]string{
	"MARCH": "MARCHF", "MARCHF": "MARCH",
	"SEPT": "SEPTIN", "SEPTIN": "SEPT",
	"MARC": "MTARC", "MTARC": "MARC",
	"DEC": "DELEC", "DELEC": "DEC",
}

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
// for: the same but for case and punctuation, or a renamed symbol. It returns
// "" if there is none.
func (v *Vocabulary) Suggest(name string) string {
	var room [64]byte // thousands of names are looked up; few are longer
	key := bare(room[:0], name)
	if token, known := v.folded()[string(key)]; known {
		return v.genes[token]
	}
	family := bytes.TrimRight(key, "0123456789")
	if len(family) == len(key) {
		return ""
	}
	if other, known := renamed[string(family)]; known {
		if symbol := other + string(key[len(family):]); v.Token(symbol) != Unknown {
			return symbol
		}
	}
	return ""
}

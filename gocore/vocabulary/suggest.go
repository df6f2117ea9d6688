package vocabulary

import "strings"

// renamed are families of human genes that HGNC renamed in 2019 and 2020 because
// spreadsheets took their symbols for dates, both ways; a number follows.
var renamed = map[string]string{
	"MARCH": "MARCHF", "MARCHF": "MARCH",
	"SEPT": "SEPTIN", "SEPTIN": "SEPT",
	"MARC": "MTARC", "MTARC": "MARC",
	"DEC": "DELEC", "DELEC": "DEC",
}

// bare is a name without case and punctuation: "HLA.A" and "hla-a" are both
// HLAA. R replaces hyphens by points.
func bare(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, name)
}

func (v *Vocabulary) fold() map[string]int32 {
	folded := make(map[string]int32, len(v.genes))
	for i, gene := range v.genes {
		key := bare(gene)
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
	if token, known := v.folded()[bare(name)]; known {
		return v.genes[token]
	}
	upper := strings.ToUpper(name)
	family := strings.TrimRight(upper, "0123456789")
	if other, known := renamed[family]; known && family != upper {
		if symbol := other + upper[len(family):]; v.Token(symbol) != Unknown {
			return symbol
		}
	}
	return ""
}

package vocabulary

import (
	"fmt"
	"strings"
)

// Column is a list of names that a data set has for its genes: the index or a
// column of AnnData's var.
type Column struct {
	// Name is what a user calls the column.
	Name string
	// Genes has one name a gene; "" where there is none.
	Genes []string
}

// nExamples is how many names an error or a report shows.
const nExamples = 5

// Suggestion is a gene of the model whose name is close to one that the model
// does not have.
type Suggestion struct {
	Given string `json:"given"`
	Known string `json:"known"`
}

// Match is what became of a data set's genes.
type Match struct {
	// Column is where the names were taken from.
	Column string
	// Tokens has one entry a gene of the data set, [Unknown] for those that
	// the vocabulary does not have.
	Tokens []int32
	// NMatched is how many genes of the data set have a token; NByID is how
	// many of those were found by their Ensembl id.
	NMatched, NByID int
	// NRepeated is how many of those have the token of an earlier gene. Each
	// stays a gene of its own in a sentence, as in the reference. Repeated are
	// the first few of them.
	NRepeated int
	Repeated  []string
	// NUnnamed is how many genes have no name.
	NUnnamed int
	// Missing are the first few names without a token.
	Missing []string
	// NClose is how many names without a token are a model's gene but for case,
	// punctuation or a symbol's renaming. None of them is taken: a guess would
	// be silently wrong. Close are the first few.
	NClose int
	Close  []Suggestion

	nDistinct  int
	looked     []string // the columns that were looked at, with what was found
	vocabulary *Vocabulary
}

// Match finds a data set's genes in the vocabulary, name by name, exactly: by
// symbol, or by Ensembl id, with or without a version, where the vocabulary has
// the id's symbol (see [SymbolOf]).
func (v *Vocabulary) Match(c Column) *Match {
	m := &Match{Column: c.Name, Tokens: make([]int32, len(c.Genes)), vocabulary: v}
	seen := make([]bool, v.NGenes())
	for i, name := range c.Genes {
		token := v.Token(name)
		if token == Unknown {
			if symbol := SymbolOf(name); symbol != "" {
				if token = v.Token(symbol); token != Unknown {
					m.NByID++
				}
			}
		}
		m.Tokens[i] = token
		if token == Unknown {
			m.miss(name)
			continue
		}
		m.NMatched++
		if seen[token] {
			m.NRepeated++
			m.Repeated = few(m.Repeated, name)
		}
		seen[token] = true
	}
	m.nDistinct = m.NMatched - m.NRepeated
	m.looked = []string{fmt.Sprintf("%s (%d)", c.Name, m.NMatched)}
	return m
}

// MatchBest matches the column with the most of the vocabulary's genes; of
// equals, the first. There must be a column.
func (v *Vocabulary) MatchBest(columns []Column) *Match {
	var best *Match
	var looked []string
	for _, c := range columns {
		m := v.Match(c)
		looked = append(looked, m.looked...)
		if best == nil || m.nDistinct > best.nDistinct {
			best = m
		}
	}
	best.looked = looked
	return best
}

func few[T any](list []T, item T) []T {
	if len(list) < nExamples {
		return append(list, item)
	}
	return list
}

// miss notes a name without a token.
func (m *Match) miss(name string) {
	if name == "" {
		m.NUnnamed++
		return
	}
	m.Missing = few(m.Missing, name)
	if known := m.vocabulary.Suggest(name); known != "" {
		m.NClose++
		m.Close = few(m.Close, Suggestion{name, known})
	}
}

// Coverage is the share of the data set's genes that have a token.
func (m *Match) Coverage() float64 {
	if len(m.Tokens) == 0 {
		return 0
	}
	return float64(m.NMatched) / float64(len(m.Tokens))
}

// Require fails if the coverage is below a minimum between 0 and 1, or nothing
// was matched at all. The error wraps [ErrCoverage], shows what was looked
// for and what the model knows, and names the likeliest reason.
func (m *Match) Require(minimum float64) error {
	if m.NMatched > 0 && m.Coverage() >= minimum {
		return nil
	}
	n := min(nExamples, m.vocabulary.NGenes())
	return fmt.Errorf("vocabulary: %d of %d genes (%.1f %%) are known to the model, at least %.1f %% are asked for: "+
		"looked in %s for %s; the model's %d genes are named like %s%s: %w",
		m.NMatched, len(m.Tokens), 100*m.Coverage(), 100*minimum, strings.Join(m.looked, ", "),
		quoted(m.Missing), m.vocabulary.NGenes(), quoted(m.vocabulary.genes[:n]), m.hint(), ErrCoverage)
}

// hint looks for the usual reasons why genes are not found.
func (m *Match) hint() string {
	switch {
	case len(m.Tokens) > 0 && m.NUnnamed > len(m.Tokens)/2:
		return fmt.Sprintf("; %d of %d genes have no name there: name the column of var that has gene symbols (gene_column=...)",
			m.NUnnamed, len(m.Tokens))
	case m.NClose > len(m.Tokens)/10:
		first := m.Close[0]
		return fmt.Sprintf("; %d names are the model's genes but for case or punctuation, such as %q for %q: "+
			"rename them if they are human genes (mouse symbols look like that, and the model knows human genes)",
			m.NClose, first.Given, first.Known)
	case most(m.Missing, func(s string) bool { return strings.HasPrefix(s, "ENS") && !strings.HasPrefix(s, "ENSG") }):
		return "; these are Ensembl ids of another species, or of transcripts: the model knows human genes"
	case most(m.Missing, isNumber):
		return "; these are numbers: name the column of var that has gene symbols (gene_column=...), or set adata.var_names"
	}
	return ""
}

// most tells whether more than half of some names are of a kind.
func most(names []string, is func(string) bool) bool {
	n := 0
	for _, name := range names {
		if is(name) {
			n++
		}
	}
	return 2*n > len(names)
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789.") == "" }

func quoted(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(parts, ", ")
}

package vocabulary

import (
	"errors"
	"fmt"
	"strings"
)

// Unknown is the token of a gene that the vocabulary does not have.
const Unknown int32 = -1

var (
	// ErrVocabulary: a list of genes is no vocabulary.
	ErrVocabulary = errors.New("invalid vocabulary")
	// ErrCoverage: too few of a data set's genes are in the vocabulary.
	ErrCoverage = errors.New("too few genes of the data set are known to the model")
)

// Vocabulary maps gene symbols to gene tokens.
type Vocabulary struct {
	genes  []string
	tokens map[string]int32
}

// New makes a vocabulary of gene symbols in token order. The errors wrap
// [ErrVocabulary]: no genes, an empty symbol, or one that stands twice.
func New(genes []string) (*Vocabulary, error) {
	if len(genes) == 0 {
		return nil, fmt.Errorf("vocabulary: no genes: %w", ErrVocabulary)
	}
	tokens := make(map[string]int32, len(genes))
	for i, gene := range genes {
		if gene == "" {
			return nil, fmt.Errorf("vocabulary: gene %d has an empty symbol: %w", i, ErrVocabulary)
		}
		if first, twice := tokens[gene]; twice {
			return nil, fmt.Errorf("vocabulary: %q stands at %d and at %d: %w", gene, first, i, ErrVocabulary)
		}
		tokens[gene] = int32(i)
	}
	return &Vocabulary{genes: genes, tokens: tokens}, nil
}

// NGenes is the number of genes.
func (v *Vocabulary) NGenes() int { return len(v.genes) }

// Genes are the symbols in token order. The slice is the vocabulary's own.
func (v *Vocabulary) Genes() []string { return v.genes }

// CLS is the token of [CLS].
func (v *Vocabulary) CLS() int32 { return int32(len(v.genes)) }

// Token is the token of a symbol, or [Unknown].
func (v *Vocabulary) Token(symbol string) int32 {
	if token, known := v.tokens[symbol]; known {
		return token
	}
	return Unknown
}

// Match finds a data set's genes in the vocabulary, symbol by symbol, exactly:
// the reference does no more, and a guess would be silently wrong.
func (v *Vocabulary) Match(symbols []string) *Match {
	m := &Match{Tokens: make([]int32, len(symbols)), vocabulary: v}
	seen := make(map[int32]struct{}, len(symbols))
	for i, symbol := range symbols {
		token := v.Token(symbol)
		m.Tokens[i] = token
		if token == Unknown {
			if len(m.Missing) < nExamples {
				m.Missing = append(m.Missing, symbol)
			}
			continue
		}
		m.NMatched++
		if _, twice := seen[token]; twice {
			m.NRepeated++
		}
		seen[token] = struct{}{}
	}
	return m
}

// nExamples is how many names an error or a report shows.
const nExamples = 5

// Match is what became of a data set's genes.
type Match struct {
	// Tokens has one entry a gene of the data set, [Unknown] for those that
	// the vocabulary does not have.
	Tokens []int32
	// NMatched is how many genes of the data set have a token.
	NMatched int
	// NRepeated is how many of those have the token of an earlier gene. Each
	// stays a gene of its own in a sentence, as in the reference.
	NRepeated int
	// Missing are the first few genes without a token.
	Missing []string

	vocabulary *Vocabulary
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
		"looked for %s; the model's %d genes are named like %s%s: %w",
		m.NMatched, len(m.Tokens), 100*m.Coverage(), 100*minimum,
		quoted(m.Missing), m.vocabulary.NGenes(), quoted(m.vocabulary.genes[:n]), m.hint(), ErrCoverage)
}

// hint looks for the usual reasons why genes are not found.
func (m *Match) hint() string {
	var ensembl, shouted int
	for _, symbol := range m.Missing {
		if strings.HasPrefix(symbol, "ENS") && len(symbol) > 10 {
			ensembl++
		}
		if upper := strings.ToUpper(symbol); upper != symbol && m.vocabulary.Token(upper) != Unknown {
			shouted++
		}
	}
	switch {
	case ensembl > len(m.Missing)/2:
		return "; these look like Ensembl ids: name the column of var that holds gene symbols (gene_column=...)"
	case shouted > len(m.Missing)/2:
		return "; these are the model's genes but for upper and lower case, " +
			"as mouse symbols are: the model knows human genes"
	}
	return ""
}

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

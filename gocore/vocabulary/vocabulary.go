package vocabulary

import (
	"errors"
	"fmt"
	"sync"
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
	// folded finds genes by the bare form of their symbols (see fold).
	folded func() map[string]int32
	last   lastMatch
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
	v := &Vocabulary{genes: genes, tokens: tokens}
	v.folded = sync.OnceValue(v.fold)
	return v, nil
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

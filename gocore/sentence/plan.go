package sentence

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// Options are a model's and a caller's choices for sentences.
type Options struct {
	// PadLength is the number of slots, [CLS] included (SE-600M: 2048).
	PadLength int
	// CLSPosition is the position, among a data set's valid genes, of the gene
	// whose value the [CLS] slot carries (the config's cls_token_idx: 3).
	CLSPosition int
	// CLS is the token in slot 0.
	CLS  int32
	Fill Fill
	Seed uint64
	// Scale overrides the decision that is otherwise made for each cell.
	Scale expression.Scale
}

// Plan is the part of tokenisation that is the same for every cell of a data
// set. It is read-only: any number of workers share it.
type Plan struct {
	padLength int
	cls       int32
	fill      Fill
	seed      uint64
	scale     expression.Scale

	// tokens[c] is the gene token of column c, or vocabulary.Unknown.
	tokens []int32
	// rank[c] is the place of column c's token in the order that the seed
	// gives to the tokens of the data set; equal tokens have equal ranks.
	rank []uint32
	// order are the valid columns by rank.
	order []int32
	// clsColumn is the column whose value the [CLS] slot carries.
	clsColumn int32
}

// NewPlan prepares tokenisation of a data set whose column c has the gene
// token tokens[c] ([vocabulary.Unknown] where it has none). The slice is kept.
// Errors wrap [ErrTooFewGenes] or [ErrFill].
func NewPlan(tokens []int32, o Options) (*Plan, error) {
	if o.PadLength < 2 {
		return nil, fmt.Errorf("sentence: a pad length of %d leaves no slot for a gene: %w", o.PadLength, ErrFill)
	}
	var order []int32
	for column, token := range tokens {
		if token != vocabulary.Unknown {
			order = append(order, int32(column))
		}
	}
	if o.CLSPosition < 0 || len(order) <= o.CLSPosition {
		return nil, fmt.Errorf("sentence: %d valid genes, but the [CLS] slot carries the value of valid gene %d: "+
			"embed a data set with more of the model's genes: %w", len(order), o.CLSPosition+1, ErrTooFewGenes)
	}
	clsColumn := order[o.CLSPosition] // before order is shuffled: var's order is meant
	fill, err := o.Fill.resolve(len(order), o.PadLength-1)
	if err != nil {
		return nil, fmt.Errorf("sentence: %w", err)
	}
	if fill == Expected {
		o.Seed = 0 // nothing is drawn: the seed must not even change the order of tokens
	}
	p := &Plan{
		padLength: o.PadLength, cls: o.CLS, fill: fill, seed: o.Seed, scale: o.Scale,
		tokens: tokens, rank: make([]uint32, len(tokens)), order: order, clsColumn: clsColumn,
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(
			cmp.Compare(hash2(o.Seed, uint64(tokens[a])), hash2(o.Seed, uint64(tokens[b]))),
			cmp.Compare(tokens[a], tokens[b]),
			cmp.Compare(a, b))
	})
	var rank uint32
	for i, column := range order {
		if i > 0 && tokens[column] != tokens[order[i-1]] {
			rank++
		}
		p.rank[column] = rank
	}
	return p, nil
}

// Fill is the policy in force; never [Auto].
func (p *Plan) Fill() Fill { return p.fill }

// NValid is the number of columns that have a gene token.
func (p *Plan) NValid() int { return len(p.order) }

// NGenes is the number of columns.
func (p *Plan) NGenes() int { return len(p.tokens) }

// MaxLength is the longest sentence that a cell of the data set can have.
func (p *Plan) MaxLength() int {
	if p.fill == Expected || p.fill == None {
		return min(p.padLength, len(p.order)+1)
	}
	return p.padLength
}

// Weighted tells whether tokens carry multiplicities other than 1.
func (p *Plan) Weighted() bool { return p.fill == Expected && len(p.order) < p.padLength-1 }

// Varying tells whether cells have sentences of different lengths: where only
// expressed genes are taken, and where a panel's cell that expresses every
// gene leaves nothing to draw from.
func (p *Plan) Varying() bool {
	return p.fill == None || p.fill != Expected && len(p.order) < p.padLength-1
}

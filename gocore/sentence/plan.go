package sentence

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/internal/words"
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

	// Valid columns have places, in the order that the seed gives to the tokens
	// of the data set. places[c] is that of column c; absent where it has none.
	places []int32
	// tokens[p] is the gene token at place p.
	tokens []int32
	// ranks[p] counts the different tokens before place p: it is the same for
	// columns of one token.
	ranks []uint32
	// repeated are the places of every token that several columns have.
	repeated []span
	// clsPlace is the place whose value the [CLS] slot carries.
	clsPlace int32
}

// span is the places from … to-1.
type span struct{ from, to int }

// absent is the place of a column without a gene token.
const absent = -1

// NewPlan prepares tokenisation of a data set whose column c has the gene
// token tokens[c] ([vocabulary.Unknown] where it has none).
// Errors wrap [ErrTooFewGenes], [ErrFill] or [expression.ErrScale].
func NewPlan(tokens []int32, o Options) (*Plan, error) {
	if o.PadLength < 2 {
		return nil, fmt.Errorf("sentence: a pad length of %d leaves no slot for a gene: %w", o.PadLength, ErrFill)
	}
	var valid []int32
	for column, token := range tokens {
		if token != vocabulary.Unknown {
			valid = append(valid, int32(column))
		}
	}
	if o.CLSPosition < 0 || len(valid) <= o.CLSPosition {
		return nil, fmt.Errorf("sentence: %s, but the [CLS] slot uses the value of valid gene %d: "+
			"embed a data set with more of the model's genes: %w", words.Many(len(valid), "valid gene"), o.CLSPosition+1, ErrTooFewGenes)
	}
	fill, err := o.Fill.resolve(len(valid), o.PadLength-1)
	if err != nil {
		return nil, fmt.Errorf("sentence: %w", err)
	}
	if _, err := expression.ParseScale(o.Scale.String()); err != nil {
		return nil, fmt.Errorf("sentence: %w", err)
	}
	if fill == Expected {
		o.Seed = 0 // nothing is drawn: the seed must not even change the order of tokens
	}
	p := &Plan{
		padLength: o.PadLength, cls: o.CLS, fill: fill, seed: o.Seed, scale: o.Scale,
		places: make([]int32, len(tokens)), tokens: make([]int32, len(valid)), ranks: make([]uint32, len(valid)),
	}
	for column := range p.places {
		p.places[column] = absent
	}
	var rank uint32
	for place, column := range shuffled(valid, tokens, o.Seed) {
		p.places[column], p.tokens[place] = int32(place), tokens[column]
		if place > 0 && p.tokens[place] != p.tokens[place-1] {
			rank++
		}
		p.ranks[place] = rank
	}
	p.repeated = repeated(p.tokens)
	p.clsPlace = p.places[valid[o.CLSPosition]] // in var's order, that is
	return p, nil
}

// repeated finds the tokens that stand at several places, which follow each other.
func repeated(tokens []int32) (spans []span) {
	for from := 0; from < len(tokens); {
		to := from + 1
		for to < len(tokens) && tokens[to] == tokens[from] {
			to++
		}
		if to-from > 1 {
			spans = append(spans, span{from, to})
		}
		from = to
	}
	return spans
}

// shuffled puts columns in the order of their tokens' hashes, which are as
// different as the tokens are; columns of one token stay as they stand.
func shuffled(columns, tokens []int32, seed uint64) []int32 {
	s := sorter{items: make([]item, len(columns))}
	for i, column := range columns {
		s.items[i].place = column
	}
	for _, half := range []int{0, 32} {
		for i := range s.items {
			s.items[i].key = uint32(hash2(seed, uint64(tokens[s.items[i].place])) >> half)
		}
		s.sort()
	}
	order := make([]int32, len(columns))
	for i := range order {
		order[i] = s.items[i].place
	}
	return order
}

// Fill is the policy in force; never [Auto].
func (p *Plan) Fill() Fill { return p.fill }

// NValid is the number of columns that have a gene token.
func (p *Plan) NValid() int { return len(p.tokens) }

// NGenes is the number of columns.
func (p *Plan) NGenes() int { return len(p.places) }

// MaxLength is the longest sentence that a cell of the data set can have.
func (p *Plan) MaxLength() int {
	if p.fill == Expected || p.fill == None {
		return min(p.padLength, len(p.tokens)+1)
	}
	return p.padLength
}

// Weighted tells whether tokens carry multiplicities other than 1.
func (p *Plan) Weighted() bool { return p.fill == Expected && len(p.tokens) < p.padLength-1 }

// Varying tells whether cells have sentences of different lengths: where only
// expressed genes are taken, and where a panel's cell that expresses every
// gene leaves nothing to draw from.
func (p *Plan) Varying() bool {
	return p.fill == None || p.fill != Expected && len(p.tokens) < p.padLength-1
}

package batch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/se600m/se600m-go/gocore/sentence"
)

// ErrSize: a batch size makes no sense.
var ErrSize = errors.New("invalid batch size")

// bucketStep is how far the lengths of buckets lie apart: small enough that
// padding costs little (32 of 1,800 tokens on average), large enough that few
// batches are left part full at the end.
const bucketStep = 64

// Layout says what batches of a data set look like.
type Layout struct {
	// MaxLength is the longest sentence, in slots.
	MaxLength int
	// Varying tells that sentences may be shorter than MaxLength.
	Varying bool
	// Weighted tells that tokens carry multiplicities other than 1.
	Weighted bool
	// Cells, if positive, is the number of cells a batch. Otherwise it follows
	// from TokenBudget, the number of tokens a batch may hold.
	Cells       int
	TokenBudget int
	// Padding is the token in unused slots, which has multiplicity 0 there.
	Padding int32
}

// Check reports a layout that can't be; the error wraps [ErrSize].
func (l Layout) Check() error {
	if l.Cells < 0 || l.Cells == 0 && l.TokenBudget <= 0 || l.MaxLength <= 0 {
		return fmt.Errorf("batch: batch_size=%d, %d tokens, sentences of %d: %w", l.Cells, l.TokenBudget, l.MaxLength, ErrSize)
	}
	return nil
}

// bucket tells what kind of batch a sentence belongs to: its padded length,
// and whether multiplicities are needed, for weighted tokens or for padding.
type bucket struct {
	length   int
	weighted bool
}

func (l Layout) bucket(length int) bucket {
	if length == l.MaxLength {
		return bucket{length, l.Weighted}
	}
	return bucket{min((length+bucketStep-1)/bucketStep*bucketStep, l.MaxLength), true}
}

// cells is how many sentences of a length fit into a batch.
func (l Layout) cells(length int) int {
	if l.Cells > 0 {
		return l.Cells
	}
	return max(1, l.TokenBudget/length)
}

// Batch is B sentences of length S.
type Batch struct {
	// Rows are the cells' places in the output, B of them.
	Rows []int
	// Length is S.
	Length           int
	GeneIndices      []int32
	ExpressionValues []float32
	Multiplicity     []float32 // nil where every token counts once

	capacity int
	weights  []float32 // Multiplicity's memory, kept while it is nil
}

// next gives the memory for one more sentence and counts it.
func (b *Batch) next(row int) sentence.Sentence {
	at, end := len(b.Rows)*b.Length, (len(b.Rows)+1)*b.Length
	b.Rows = append(b.Rows, row)
	b.GeneIndices = b.GeneIndices[:end]
	b.ExpressionValues = b.ExpressionValues[:end]
	slot := sentence.Sentence{GeneIndices: b.GeneIndices[at:end], ExpressionValues: b.ExpressionValues[at:end]}
	if b.Multiplicity != nil {
		b.Multiplicity = b.Multiplicity[:end]
		slot.Multiplicity = b.Multiplicity[at:end]
	}
	return slot
}

// reset makes an empty batch for a bucket, in old memory where that is large
// enough.
func (b *Batch) reset(l Layout, kind bucket) {
	b.Length, b.capacity = kind.length, l.cells(kind.length)
	size := b.capacity * kind.length
	b.Rows = slices.Grow(b.Rows[:0], b.capacity)
	b.GeneIndices = slices.Grow(b.GeneIndices[:0], size)
	b.ExpressionValues = slices.Grow(b.ExpressionValues[:0], size)
	b.weights = b.weights[:0]
	b.Multiplicity = nil
	if kind.weighted {
		b.weights = slices.Grow(b.weights, size)
		b.Multiplicity = b.weights
	}
}

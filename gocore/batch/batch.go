package batch

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/se600m/se600m-go/gocore/sentence"
)

// ErrSize: a batch size makes no sense.
var ErrSize = errors.New("invalid batch size")

// bucketStep is how far the lengths of buckets lie apart unless a layout says
// otherwise: small enough that padding costs little (32 of 1,800 tokens on
// average), large enough that few batches are left part full at the end.
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
	// Fixed has all batches of a length hold equally many sentences, a power of two
	// unless Cells says otherwise: the last ones are filled up.
	Fixed bool
	// Step, if not 0, is how far the lengths of batches lie apart.
	Step int
	// Multiple, if not 0, is what the tokens of a sentence are a multiple of where
	// it has multiplicities: its slots and Extra others.
	Multiple, Extra int
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
	if length == l.MaxLength && !l.Weighted {
		return bucket{length, false}
	}
	return bucket{l.weightedLength(length), true}
}

// weightedLength is the length that sentences with multiplicities are padded to.
func (l Layout) weightedLength(length int) int {
	length = min(roundUp(length, cmp.Or(l.Step, bucketStep)), l.MaxLength)
	return roundUp(length+l.Extra, max(1, l.Multiple)) - l.Extra
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// Bounds are the least and the most slots that batches have, and the most
// sentences.
func (l Layout) Bounds() (least, most, cells int) {
	most = l.bucket(l.MaxLength).length
	least = most
	if l.Varying {
		least = min(most, l.weightedLength(1))
	}
	return least, most, l.cells(least)
}

// cells is how many sentences of a length fit into a batch.
func (l Layout) cells(length int) int {
	if l.Cells > 0 {
		return l.Cells
	}
	n := max(1, l.TokenBudget/length)
	if l.Fixed {
		n = 1 << (bits.Len(uint(n)) - 1)
	}
	return n
}

// Batch is B sentences of length S.
type Batch struct {
	// Rows are the cells' places in the output. Sentences after theirs fill the
	// batch up.
	Rows []int
	// Length is S.
	Length           int
	GeneIndices      []int32
	ExpressionValues []float32
	Multiplicity     []float32 // nil where every token counts once

	capacity int
	weights  []float32 // Multiplicity's memory, kept while it is nil
}

// Size is B.
func (b *Batch) Size() int { return len(b.GeneIndices) / b.Length }

// InUse is the number of slots of a sentence before its padding, whose
// multiplicity is 0.
func (b *Batch) InUse(i int) int {
	length := b.Length
	if b.Multiplicity != nil {
		for length > 0 && b.Multiplicity[i*b.Length+length-1] == 0 {
			length--
		}
	}
	return length
}

// Halves are the first and the second half of the sentences, in the batch's
// memory.
func (b *Batch) Halves() [2]*Batch {
	part := func(from, to int) *Batch {
		nRows := len(b.Rows)
		half := &Batch{
			Rows: b.Rows[min(from, nRows):min(to, nRows)], Length: b.Length,
			GeneIndices: b.GeneIndices[from*b.Length : to*b.Length], ExpressionValues: b.ExpressionValues[from*b.Length : to*b.Length],
		}
		if b.Multiplicity != nil {
			half.Multiplicity = b.Multiplicity[from*b.Length : to*b.Length]
		}
		return half
	}
	middle := (b.Size() + 1) / 2
	return [2]*Batch{part(0, middle), part(middle, b.Size())}
}

// fillUp adds sentences of padding until the batch has as many as it may.
func (b *Batch) fillUp(padding int32) {
	for n := b.Size(); n < b.capacity; n++ {
		slot := b.grow(n)
		pad(slot, 0, padding)
		if slot.Multiplicity != nil {
			slot.Multiplicity[0] = 1 // attention needs something to look at
		}
	}
}

// pad puts padding into a sentence's slots from some length on.
func pad(slot sentence.Sentence, length int, padding int32) {
	for i := length; i < len(slot.GeneIndices); i++ {
		slot.GeneIndices[i], slot.ExpressionValues[i] = padding, 0
		if slot.Multiplicity != nil {
			slot.Multiplicity[i] = 0
		}
	}
}

// next gives the memory for one more sentence and counts it.
func (b *Batch) next(row int) sentence.Sentence {
	b.Rows = append(b.Rows, row)
	return b.grow(len(b.Rows) - 1)
}

// grow gives the memory for one more sentence after n others.
func (b *Batch) grow(n int) sentence.Sentence {
	at, end := n*b.Length, (n+1)*b.Length
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

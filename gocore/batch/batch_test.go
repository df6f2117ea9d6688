package batch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/sentence"
)

func TestLayoutCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout batch.Layout
		says   []string // nil: no error
	}{
		{"cells", batch.Layout{MaxLength: 2048, Cells: 1}, nil},
		{"token budget", batch.Layout{MaxLength: 2048, TokenBudget: 1}, nil},
		{"cells and a budget", batch.Layout{MaxLength: 1, Cells: 8, TokenBudget: 1}, nil},
		{"neither cells nor a budget", batch.Layout{MaxLength: 2048}, []string{"batch_size=0", "0 tokens"}},
		{"negative cells", batch.Layout{MaxLength: 2048, Cells: -3, TokenBudget: 100}, []string{"batch_size=-3"}},
		{"negative budget", batch.Layout{MaxLength: 2048, TokenBudget: -9}, []string{"-9 tokens"}},
		{"no slots", batch.Layout{Cells: 1}, []string{"sentences of 0"}},
		{"negative slots", batch.Layout{MaxLength: -1, Cells: 1}, []string{"sentences of -1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.layout.Check()
			pool, poolErr := batch.NewPool(c.layout, 2)
			if c.says == nil {
				if err != nil || poolErr != nil {
					t.Fatalf("got %v, and from NewPool %v; want no error", err, poolErr)
				}
				if pool.Layout() != c.layout {
					t.Errorf("the pool's layout is %+v, want %+v", pool.Layout(), c.layout)
				}
				return
			}
			if !errors.Is(err, batch.ErrSize) || !errors.Is(poolErr, batch.ErrSize) {
				t.Fatalf("got %v, and from NewPool %v; want %v", err, poolErr, batch.ErrSize)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func newCollector(t testing.TB, l batch.Layout) *batch.Collector {
	t.Helper()
	pool, err := batch.NewPool(l, 4)
	if err != nil {
		t.Fatal(err)
	}
	return batch.NewCollector(pool)
}

// sentenceOf writes a sentence whose every slot tells its cell and position.
func sentenceOf(row, length int) func(sentence.Sentence) int {
	return func(out sentence.Sentence) int {
		for i := range length {
			out.GeneIndices[i] = int32(1000*row + i)
			out.ExpressionValues[i] = float32(row) + float32(i)/1024
			if out.Multiplicity != nil {
				out.Multiplicity[i] = float32(1 + row%3)
			}
		}
		return length
	}
}

// checkRow checks the sentence of one cell in a batch: what sentenceOf wrote,
// then padding.
func checkRow(b *batch.Batch, at, length int, padding int32) error {
	row := b.Rows[at]
	for i := range b.Length {
		slot := at*b.Length + i
		gene, value, multiplicity := int32(1000*row+i), float32(row)+float32(i)/1024, float32(1+row%3)
		if i >= length {
			gene, value, multiplicity = padding, 0, 0
		}
		if b.GeneIndices[slot] != gene || b.ExpressionValues[slot] != value {
			return fmt.Errorf("cell %d, slot %d: got %d, %v; want %d, %v",
				row, i, b.GeneIndices[slot], b.ExpressionValues[slot], gene, value)
		}
		if b.Multiplicity != nil && b.Multiplicity[slot] != multiplicity {
			return fmt.Errorf("cell %d, slot %d: multiplicity %v, want %v", row, i, b.Multiplicity[slot], multiplicity)
		}
	}
	return nil
}

// checkShape checks that a batch is [B, S] in every part.
func checkShape(b *batch.Batch) error {
	size := len(b.Rows) * b.Length
	if len(b.GeneIndices) != size || len(b.ExpressionValues) != size ||
		b.Multiplicity != nil && len(b.Multiplicity) != size {
		return fmt.Errorf("%d cells of %d slots, but %d gene indices, %d values, %d multiplicities",
			len(b.Rows), b.Length, len(b.GeneIndices), len(b.ExpressionValues), len(b.Multiplicity))
	}
	return nil
}

// Buckets lie 64 slots apart; none is longer than the longest sentence.
func TestBucketLength(t *testing.T) {
	for _, c := range []struct{ length, maxLength, want int }{
		{1, 2048, 64},
		{63, 2048, 64},
		{64, 2048, 64},
		{65, 2048, 128},
		{1800, 2048, 1856},
		{1984, 2048, 1984},
		{1985, 2048, 2048},
		{2048, 2048, 2048},
		{10, 40, 40},
		{40, 40, 40},
		{64, 100, 64},
		{65, 100, 100},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.length, c.maxLength), func(t *testing.T) {
			collector := newCollector(t, batch.Layout{MaxLength: c.maxLength, Varying: true, Cells: 1})
			b := collector.Add(3, sentenceOf(3, c.length))
			if b == nil {
				t.Fatal("a batch of one cell is full with it, got none")
			}
			if b.Length != c.want {
				t.Errorf("length %d, want %d", b.Length, c.want)
			}
			// Padding needs multiplicities, and nothing else does here.
			if padded := c.want > c.length; padded && b.Multiplicity == nil {
				t.Error("padding without multiplicities")
			}
			if c.length == c.maxLength && b.Multiplicity != nil {
				t.Errorf("multiplicities %v though every token counts once", b.Multiplicity)
			}
		})
	}
}

func TestTokenBudget(t *testing.T) {
	for _, c := range []struct {
		name           string
		layout         batch.Layout
		length, nCells int
	}{
		{"fixed length", batch.Layout{MaxLength: 100, TokenBudget: 1000}, 100, 10},
		{"rounded down", batch.Layout{MaxLength: 300, TokenBudget: 1000}, 300, 3},
		{"just enough for one more", batch.Layout{MaxLength: 250, TokenBudget: 1000}, 250, 4},
		{"less than one sentence", batch.Layout{MaxLength: 2048, TokenBudget: 1000}, 2048, 1},
		{"cells asked for", batch.Layout{MaxLength: 100, Cells: 3, TokenBudget: 1000}, 100, 3},
		{"cells asked for, beyond the budget", batch.Layout{MaxLength: 2048, Cells: 3, TokenBudget: 1000}, 2048, 3},
		{"short bucket", batch.Layout{MaxLength: 2048, Varying: true, TokenBudget: 640}, 33, 10},
		{"longer bucket", batch.Layout{MaxLength: 2048, Varying: true, TokenBudget: 640}, 100, 5},
		{"varying, cells asked for", batch.Layout{MaxLength: 2048, Varying: true, Cells: 2, TokenBudget: 640}, 33, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			collector := newCollector(t, c.layout)
			for row := range 2 * c.nCells {
				b := collector.Add(row, sentenceOf(row, c.length))
				if full := (row+1)%c.nCells == 0; full != (b != nil) {
					t.Fatalf("cell %d gives %v, want a batch every %d cells", row, b, c.nCells)
				}
				if b != nil && len(b.Rows) != c.nCells {
					t.Fatalf("%d cells, want %d", len(b.Rows), c.nCells)
				}
			}
			if rest := collector.Rest(); len(rest) != 0 {
				t.Errorf("%d batches are left, want none", len(rest))
			}
		})
	}
}

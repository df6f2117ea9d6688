package batch_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/batch"
)

// Batches of a fixed layout have as many sentences whether there are as many
// cells or not; what fills them up is padding that attention can look at.
func TestFixedBatches(t *testing.T) {
	const padding = -7
	for _, c := range []struct {
		layout      batch.Layout
		cells, size int
	}{
		{batch.Layout{MaxLength: 8, TokenBudget: 70, Fixed: true}, 3, 8}, // 8 sentences would fit, a power of two
		{batch.Layout{MaxLength: 8, TokenBudget: 100, Fixed: true}, 3, 8},
		{batch.Layout{MaxLength: 8, Cells: 5, Fixed: true}, 3, 5},
		{batch.Layout{MaxLength: 8, Cells: 5, Fixed: true, Weighted: true}, 3, 5},
		{batch.Layout{MaxLength: 8, Cells: 5}, 3, 3},
	} {
		t.Run(fmt.Sprintf("%+v", c.layout), func(t *testing.T) {
			c.layout.Padding = padding
			collector := newCollector(t, c.layout)
			for row := range c.cells {
				if b := collector.Add(row, sentenceOf(row, 8)); b != nil {
					t.Fatalf("full after %d", row+1)
				}
			}
			rest := collector.Rest()
			if len(rest) != 1 || rest[0].Size() != c.size || len(rest[0].Rows) != c.cells {
				t.Fatalf("%d batches; the first has %d sentences, %d of cells", len(rest), rest[0].Size(), len(rest[0].Rows))
			}
			b := rest[0]
			for i := range c.cells {
				if err := checkRow(b, i, 8, padding); err != nil {
					t.Error(err)
				}
			}
			for i := c.cells * 8; i < len(b.GeneIndices); i++ {
				want := float32(0)
				if i%8 == 0 {
					want = 1
				}
				if b.GeneIndices[i] != padding || b.ExpressionValues[i] != 0 || b.Multiplicity != nil && b.Multiplicity[i] != want {
					t.Fatalf("slot %d: %d, %v", i, b.GeneIndices[i], b.ExpressionValues[i])
				}
			}
		})
	}
}

// Where there are multiplicities, slots and what comes beside them are a
// multiple; sentences of one length without any are as long as they are.
func TestLengthsAreMultiples(t *testing.T) {
	layout := batch.Layout{MaxLength: 2048, Cells: 1, Varying: true, Step: 256, Multiple: 16, Extra: 1}
	for length, want := range map[int]int{1: 271, 256: 271, 257: 527, 2000: 2063, 2048: 2048} {
		b := newCollector(t, layout).Add(0, sentenceOf(0, length))
		if b == nil || b.Length != want || (b.Multiplicity == nil) != (length == 2048) {
			t.Errorf("%d slots: %+v", length, b.Length)
		} else if err := checkRow(b, 0, length, 0); err != nil {
			t.Error(err)
		}
	}
	layout.Weighted = true
	if b := newCollector(t, layout).Add(0, sentenceOf(0, 2048)); b.Length != 2063 || b.Multiplicity == nil {
		t.Errorf("weighted: %d slots", b.Length)
	}
	if least, most, cells := layout.Bounds(); least != 271 || most != 2063 || cells != 1 {
		t.Errorf("bounds %d, %d, %d", least, most, cells)
	}
}

// Halves have every sentence once, in order.
func TestHalves(t *testing.T) {
	layout := batch.Layout{MaxLength: 4, Cells: 5, Fixed: true, Weighted: true, Padding: 9}
	collector := newCollector(t, layout)
	for row := range 2 {
		collector.Add(row, sentenceOf(row, 4))
	}
	b := collector.Rest()[0]
	halves := b.Halves()
	if halves[0].Size() != 3 || halves[1].Size() != 2 || !slices.Equal(halves[0].Rows, []int{0, 1}) || len(halves[1].Rows) != 0 {
		t.Fatalf("%d and %d sentences, rows %v and %v", halves[0].Size(), halves[1].Size(), halves[0].Rows, halves[1].Rows)
	}
	if got := slices.Concat(halves[0].GeneIndices, halves[1].GeneIndices); !slices.Equal(got, b.GeneIndices) {
		t.Errorf("gene indices %v", got)
	}
	if got := slices.Concat(halves[0].Multiplicity, halves[1].Multiplicity); !slices.Equal(got, b.Multiplicity) {
		t.Errorf("multiplicities %v", got)
	}
	one := halves[1].Halves()
	if one[0].Size() != 1 || one[1].Size() != 1 {
		t.Errorf("%d and %d", one[0].Size(), one[1].Size())
	}
}

// What several collectors leave part full becomes as few batches as can be, and
// every cell is in one of them.
func TestMerger(t *testing.T) {
	layout := batch.Layout{MaxLength: 300, Cells: 4, Varying: true, Weighted: true, Padding: 9}
	pool, err := batch.NewPool(layout, 4)
	if err != nil {
		t.Fatal(err)
	}
	merger := batch.NewMerger(pool)
	length := func(row int) int { return 10 + 100*(row%2) } // of two kinds
	var all []*batch.Batch
	row := 0
	for range 5 {
		collector := batch.NewCollector(pool)
		for range 3 {
			if b := collector.Add(row, sentenceOf(row, length(row))); b != nil {
				all = append(all, b)
			}
			row++
		}
		all = append(all, merger.Take(collector)...)
		if left := collector.Rest(); len(left) != 0 {
			t.Errorf("%d batches stayed", len(left))
		}
	}
	all = append(all, merger.Rest()...)
	seen := make([]int, row)
	for _, b := range all {
		for i, cell := range b.Rows {
			seen[cell]++
			if err := checkRow(b, i, length(cell), 9); err != nil {
				t.Error(err)
			}
		}
	}
	if len(all) != 4 || slices.Max(seen) != 1 || slices.Min(seen) != 1 { // 8 and 7 cells
		t.Errorf("%d batches; cells are there %v times", len(all), seen)
	}
	if again := merger.Rest(); len(again) != 0 {
		t.Errorf("%d batches are left", len(again))
	}
}

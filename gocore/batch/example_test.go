package batch_test

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// Sentences of three, two and three slots, two cells a batch: the short one is
// padded, so it goes to a batch with multiplicities.
func ExampleCollector() {
	pool, err := batch.NewPool(batch.Layout{MaxLength: 3, Varying: true, Cells: 2, Padding: -1}, 2)
	if err != nil {
		panic(err)
	}
	collector := batch.NewCollector(pool)
	show := func(b *batch.Batch) {
		fmt.Println(b.Rows, b.GeneIndices, b.ExpressionValues, b.Multiplicity)
		pool.Put(b) // after use: its memory is filled anew
	}
	cells := [][]int32{{9, 4, 2}, {9, 7}, {9, 2, 5}}
	for row, genes := range cells {
		full := collector.Add(row, func(out sentence.Sentence) int {
			copy(out.GeneIndices, genes)
			for i := range genes {
				out.ExpressionValues[i] = 50
				if out.Multiplicity != nil {
					out.Multiplicity[i] = 1
				}
			}
			return len(genes)
		})
		if full != nil {
			show(full)
		}
	}
	for _, b := range collector.Rest() {
		show(b)
	}
	// Output:
	// [0 2] [9 4 2 9 2 5] [50 50 50 50 50 50] []
	// [1] [9 7 -1] [50 50 0] [1 1 0]
}

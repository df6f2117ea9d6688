package sentence

import (
	"math/rand/v2"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
)

// What a look tells of a cell is what its tokenisation tells.
func TestALookSeesWhatTokenisationSees(t *testing.T) {
	const nGenes = 50
	tokens := make([]int32, nGenes)
	for i := range tokens {
		tokens[i] = int32(i % 40) // some are repeated
	}
	tokens[7], tokens[8] = -1, -1
	random := rand.New(rand.NewPCG(3, 4))
	for _, scale := range []expression.Scale{expression.Auto, expression.Counts, expression.Log1p} {
		plan, err := NewPlan(tokens, Options{PadLength: 20, CLSPosition: 3, CLS: 40, Scale: scale})
		if err != nil {
			t.Fatal(err)
		}
		worker := plan.NewWorker()
		for cell := range 100 {
			row := &expression.Row{Negative: cell % 3}
			for column := range int32(nGenes) {
				if random.IntN(100) < cell { // the first cell is empty
					value := float32(1 + random.IntN(4))
					if cell%2 == 1 {
						value = random.Float32() * 40
					}
					row.Columns, row.Values = append(row.Columns, column), append(row.Values, value)
				}
			}
			want := worker.Tokenize(row, cell, Sentence{
				GeneIndices: make([]int32, 20), ExpressionValues: make([]float32, 20), Multiplicity: make([]float32, 20),
			})
			want.Length = 0
			if got := plan.Look(row); got != want {
				t.Fatalf("%v, cell %d: %+v, want %+v", scale, cell, got, want)
			}
		}
	}
}

package sentence_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// countCells makes cells of raw counts: each expresses nExpressed genes, in the
// order of the columns, most of them with a count of one or two.
func countCells(nCells, nGenes, nExpressed int) []*expression.Row {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]*expression.Row, nCells)
	for i := range rows {
		rows[i] = &expression.Row{}
		columns := random.Perm(nGenes)[:nExpressed]
		slices.Sort(columns)
		for _, column := range columns {
			rows[i].Columns = append(rows[i].Columns, int32(column))
			rows[i].Values = append(rows[i].Values, float32(1+int(random.ExpFloat64()*random.ExpFloat64())))
		}
		rows[i].Values[0] = 120 // a cell of this depth has genes above 35
	}
	return rows
}

func emptySentence(plan *sentence.Plan) sentence.Sentence {
	return sentence.Sentence{
		GeneIndices:      make([]int32, plan.MaxLength()),
		ExpressionValues: make([]float32, plan.MaxLength()),
		Multiplicity:     make([]float32, plan.MaxLength()),
	}
}

func TestTokenizeAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name      string
		nGenes    int
		padLength int
		fills     []sentence.Fill
	}{
		{"whole", 3000, 512, []sentence.Fill{sentence.Shared, sentence.Independent, sentence.None}},
		{"panel", 400, 512, allFills},
	} {
		for _, fill := range c.fills {
			t.Run(c.name+"/"+fill.String(), func(t *testing.T) {
				plan := newPlan(t, nTokens(c.nGenes), sentence.Options{PadLength: c.padLength, CLSPosition: 3, CLS: cls, Fill: fill})
				worker, out := plan.NewWorker(), emptySentence(plan)
				var rows []*expression.Row
				for _, nExpressed := range []int{100, 10, 300, 1} {
					rows = append(rows, countCells(1, c.nGenes, nExpressed)...)
				}
				// The first run of AllocsPerRun is not counted: there the worker grows to its largest cell.
				allocations := testing.AllocsPerRun(50, func() {
					for i, row := range rows {
						worker.Tokenize(row, i, out)
					}
				})
				if allocations != 0 {
					t.Errorf("%v allocations for %d cells, want 0", allocations, len(rows))
				}
			})
		}
	}
}

func BenchmarkTokenize(b *testing.B) {
	const nGenes, nExpressed, padLength = 20_000, 1800, 2048
	rows := countCells(64, nGenes, nExpressed)
	for _, fill := range []sentence.Fill{sentence.Shared, sentence.Independent, sentence.None} {
		b.Run(fill.String(), func(b *testing.B) {
			plan := newPlan(b, nTokens(nGenes), sentence.Options{PadLength: padLength, CLSPosition: 3, CLS: cls, Fill: fill})
			worker, out := plan.NewWorker(), emptySentence(plan)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				worker.Tokenize(rows[i%len(rows)], i, out)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cells/s")
		})
	}
}

func BenchmarkNewPlan(b *testing.B) {
	tokens := nTokens(20_000)
	b.ReportAllocs()
	for b.Loop() {
		newPlan(b, tokens, sentence.Options{PadLength: 2048, CLSPosition: 3, CLS: cls})
	}
}

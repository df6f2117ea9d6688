package embed_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/internal/benchcells"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// tokenOnly is a model that can do nothing but tokenise: it needs no graphs.
func tokenOnly(tb testing.TB, nGenes int) *embed.Model {
	tb.Helper()
	genes := make([]string, nGenes)
	for i := range genes {
		genes[i] = "GENE" + strconv.Itoa(i)
	}
	v, err := vocabulary.New(genes)
	if err != nil {
		tb.Fatal(err)
	}
	config := &modeldir.Config{Dimensions: modeldir.Dimensions{PadLength: 2048, CLSTokenIdx: 3, EmSize: 2048, DHid: 2048}}
	return &embed.Model{Config: config, Vocabulary: v}
}

func emptySentences(nCells, width int) embed.Sentences {
	n := nCells * width
	return embed.Sentences{
		GeneIndices: make([]int32, n), ExpressionValues: make([]float32, n), Multiplicity: make([]float32, n),
		Lengths: make([]int32, nCells), Width: width,
	}
}

func TestTokenizeAllocatesNothingForACell(t *testing.T) {
	m := tokenOnly(t, 40)
	c := draw(200, 30)
	for _, fill := range []sentence.Fill{sentence.Shared, sentence.Independent, sentence.Expected, sentence.None} {
		t.Run(fill.String(), func(t *testing.T) {
			allocations := func(nCells int) float64 {
				cells, out := c.cells(t, 0, nCells), emptySentences(nCells, 2048)
				cells.Fill, cells.Threads, cells.Share = fill, 1, make([]float32, nCells)
				return testing.AllocsPerRun(5, func() {
					if _, err := m.Tokenize(t.Context(), cells, out); err != nil {
						t.Fatal(err)
					}
				})
			}
			// What all cells share is allocated; 150 cells more need nothing more, but for
			// two rows of the reader that grow a few times.
			if few, many := allocations(50), allocations(200); many > few+10 {
				t.Errorf("%v allocations for 200 cells, %v for 50", many, few)
			}
		})
	}
}

// BenchmarkTokenize writes all sentences of a data set to memory that is there.
func BenchmarkTokenize(b *testing.B) {
	cells := benchcells.Load(b)
	m := tokenOnly(b, 19_790)
	out := emptySentences(cells.NCells, 2048)
	for _, kind := range []struct {
		name   string
		matrix expression.Matrix
	}{{"csr", cells.Matrix(b)}, {"dense", cells.Dense(b)}} {
		for _, fill := range []sentence.Fill{sentence.Shared, sentence.Independent, sentence.None} {
			for threads := 1; threads <= runtime.GOMAXPROCS(0); threads *= 2 {
				b.Run(fmt.Sprintf("%s/%s/threads=%d", kind.name, fill, threads), func(b *testing.B) {
					c := &embed.Cells{Matrix: kind.matrix, Tokens: cells.Tokens, Fill: fill, Threads: threads}
					b.ReportAllocs()
					for b.Loop() {
						if _, err := m.Tokenize(b.Context(), c, out); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.N*cells.NCells)/b.Elapsed().Seconds(), "cells/s")
				})
			}
		}
	}
}

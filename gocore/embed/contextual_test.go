package embed_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
)

// everySlot is memory for the vectors of every slot.
func everySlot(m *embed.Model, n, slots int) embed.Contextual {
	return embed.Contextual{
		Places:     embed.Places{Slots: slots, GeneIndices: make([]int32, n*slots)},
		Embeddings: make([]float32, n*slots*m.Config.Dimensions.EmSize),
	}
}

func contextual(t *testing.T, m *embed.Model, c *embed.Cells, out embed.Contextual) embed.Contextual {
	t.Helper()
	if _, err := m.Contextual(t.Context(), c, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// same compares bit by bit: NaN equals itself.
func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

const nSlots = 20

func TestContextualBatchesAndThreadsChangeNothing(t *testing.T) {
	for _, dataset := range []bool{true, false} {
		m := open(t, "soft-bins", dataset)
		for _, f := range fills {
			t.Run(f.name, func(t *testing.T) {
				data := draw(nCells, f.nGenes)
				var want embed.Contextual
				for i, how := range []struct{ batchSize, threads int }{{0, 1}, {1, 1}, {3, 2}, {64, 5}, {0, 0}} {
					c := data.cells(t, 0, nCells)
					c.Fill, c.BatchSize, c.Threads = f.fill, how.batchSize, how.threads
					got := contextual(t, m, c, everySlot(m, nCells, nSlots))
					if i == 0 {
						want = got
					} else if !same(got.Embeddings, want.Embeddings) || !slices.Equal(got.GeneIndices, want.GeneIndices) {
						t.Errorf("batches of %d on %d threads: other numbers", how.batchSize, how.threads)
					}
				}
			})
		}
	}
}

// TestContextualIsTheLastLayer compares with the trace graph, slot by slot, and
// chosen genes with the slots.
func TestContextualIsTheLastLayer(t *testing.T) {
	m := open(t, "soft-bins", true)
	d := m.Config.Dimensions
	for _, f := range fills {
		t.Run(f.name, func(t *testing.T) {
			c := draw(nCells, f.nGenes).cells(t, 0, nCells)
			c.Fill = f.fill
			got := contextual(t, m, c, everySlot(m, nCells, nSlots))
			tokens := sentences(nCells, nSlots)
			if _, err := m.Tokenize(t.Context(), c, tokens); err != nil {
				t.Fatal(err)
			}
			g := &embed.Given{
				N: nCells, Length: nSlots, GeneIndices: tokens.GeneIndices,
				ExpressionValues: tokens.ExpressionValues, Multiplicity: tokens.Multiplicity,
			}
			stages := stagesFor(m, g)
			err := m.Trace(t.Context(), g, output(m, nCells), stages)
			if err != nil {
				t.Fatal(err)
			}
			last := stages[len(stages)-2]
			for cell := range nCells {
				for slot := range nSlots {
					at := cell*nSlots + slot
					vector := got.Embeddings[at*d.EmSize : (at+1)*d.EmSize]
					if slot >= int(tokens.Lengths[cell]) {
						if got.GeneIndices[at] != -1 || !math.IsNaN(float64(vector[0])) || !math.IsNaN(float64(vector[d.EmSize-1])) {
							t.Fatalf("cell %d, slot %d past the end: gene %d, %v", cell, slot, got.GeneIndices[at], vector)
						}
						continue
					}
					want := last[(cell*(nSlots+1)+slot)*d.EmSize:][:d.EmSize]
					for k, v := range vector {
						if math.Abs(float64(v-want[k])) > 1e-5 {
							t.Fatalf("cell %d, slot %d: %v, want %v", cell, slot, vector, want)
						}
					}
					if got.GeneIndices[at] != tokens.GeneIndices[at] {
						t.Fatalf("cell %d, slot %d: gene %d, want %d", cell, slot, got.GeneIndices[at], tokens.GeneIndices[at])
					}
				}
			}
			// Token 39 is no gene of the data; 1 may have two columns.
			genes := []int32{0, 1, 39, 5, 0}
			chosen := contextual(t, m, c, embed.Contextual{Places: embed.Places{Genes: genes}, Embeddings: make([]float32, nCells*len(genes)*d.EmSize)})
			for cell := range nCells {
				for place, gene := range genes {
					vector := chosen.Embeddings[(cell*len(genes)+place)*d.EmSize:][:d.EmSize]
					slot := slices.Index(got.GeneIndices[cell*nSlots:(cell+1)*nSlots], gene)
					if slot < 0 {
						if !math.IsNaN(float64(vector[0])) {
							t.Fatalf("cell %d lacks gene %d: %v", cell, gene, vector)
						}
					} else if !same(vector, got.Embeddings[(cell*nSlots+slot)*d.EmSize:][:d.EmSize]) {
						t.Fatalf("cell %d, gene %d: not the vector of slot %d", cell, gene, slot)
					}
				}
			}
		})
	}
}

func TestContextualRefuses(t *testing.T) {
	m := open(t, "soft-bins", true)
	d := m.Config.Dimensions.EmSize
	c := draw(3, 30).cells(t, 0, 3)
	for _, bad := range []struct {
		name string
		out  embed.Contextual
		says string
	}{
		{"too few slots", everySlot(m, 3, nSlots-1), "19 slots"},
		{"too little memory", embed.Contextual{Places: embed.Places{Slots: nSlots, GeneIndices: make([]int32, 3*nSlots)}}, "memory for 0"},
		{"no memory for genes", embed.Contextual{Places: embed.Places{Slots: nSlots}, Embeddings: make([]float32, 3*nSlots*d)}, "0 gene indices"},
		{"[CLS] as a gene", embed.Contextual{Places: embed.Places{Genes: []int32{40}}, Embeddings: make([]float32, 3*d)}, "token 40"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			if _, err := m.Contextual(t.Context(), c, bad.out); !errors.Is(err, embed.ErrOption) || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("got %v, want %v saying %q", err, embed.ErrOption, bad.says)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Contextual(ctx, c, everySlot(m, 3, nSlots)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

package embed_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// TestAttentionToGenesIsTheSumOfTheirSlots compares chosen genes with all slots,
// and the mean over layers with the layers.
func TestAttentionToGenesIsTheSumOfTheirSlots(t *testing.T) {
	m := open(t, "soft-bins", true)
	attention := func(layer int, genes []int32) embed.Attention {
		c := draw(nCells, 30).cells(t, 0, nCells)
		c.Fill = sentence.Shared
		out := embed.Attention{Layer: layer, Places: embed.Places{Slots: nSlots, GeneIndices: make([]int32, nCells*nSlots)}, Weights: make([]float32, nCells*nSlots)}
		if genes != nil {
			out = embed.Attention{Layer: layer, Places: embed.Places{Genes: genes}, Weights: make([]float32, nCells*len(genes))}
		}
		if _, err := m.Attention(t.Context(), c, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	nLayers := m.Config.Dimensions.NLayers
	mean := make([]float64, nCells*nSlots)
	for layer := range nLayers {
		for i, w := range attention(layer, nil).Weights {
			mean[i] += float64(w) / float64(nLayers)
		}
	}
	all := attention(embed.MeanOfLayers, nil)
	for i, w := range all.Weights {
		if math.Abs(float64(w)-mean[i]) > 1e-6 {
			t.Fatalf("slot %d: %v, want %v", i, w, mean[i])
		}
	}
	genes := []int32{0, 1, 39, 5, 0} // 39 is no gene of the data
	chosen := attention(embed.MeanOfLayers, genes)
	for cell := range nCells {
		tokens := all.GeneIndices[cell*nSlots : (cell+1)*nSlots]
		for place, gene := range genes {
			var want float64
			for slot, token := range tokens {
				if token == gene {
					want += float64(all.Weights[cell*nSlots+slot])
				}
			}
			got := float64(chosen.Weights[cell*len(genes)+place])
			if lacks := !slices.Contains(tokens, gene); lacks != math.IsNaN(got) || !lacks && math.Abs(got-want) > 1e-7 {
				t.Fatalf("cell %d, gene %d: %v, want %v", cell, gene, got, want)
			}
		}
	}
}

func TestAttentionRefuses(t *testing.T) {
	m := open(t, "soft-bins", true)
	c := draw(3, 30).cells(t, 0, 3)
	slots := func(n, layer int) embed.Attention {
		return embed.Attention{Layer: layer, Places: embed.Places{Slots: n, GeneIndices: make([]int32, 3*n)}, Weights: make([]float32, 3*n)}
	}
	for _, bad := range []struct {
		name string
		out  embed.Attention
		says string
	}{
		{"too few slots", slots(nSlots-1, 0), "19 slots"},
		{"no such layer", slots(nSlots, m.Config.Dimensions.NLayers), "attention in layer"},
		{"below the first", slots(nSlots, -2), "attention in layer"},
		{"too little memory", embed.Attention{Places: embed.Places{Slots: nSlots, GeneIndices: make([]int32, 3*nSlots)}}, "memory for 0"},
		{"no memory for genes", embed.Attention{Places: embed.Places{Slots: nSlots}, Weights: make([]float32, 3*nSlots)}, "0 gene indices"},
		{"[CLS] as a gene", embed.Attention{Places: embed.Places{Genes: []int32{40}}, Weights: make([]float32, 3)}, "token 40"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			if _, err := m.Attention(t.Context(), c, bad.out); !errors.Is(err, embed.ErrOption) || !strings.Contains(err.Error(), bad.says) {
				t.Errorf("got %v, want %v saying %q", err, embed.ErrOption, bad.says)
			}
		})
	}
}

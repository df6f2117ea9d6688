package modeldir_test

import (
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

func namesOf(tensors []modeldir.Tensor) (names []string) {
	for _, tensor := range tensors {
		names = append(names, tensor.Name)
	}
	return names
}

func TestSignatures(t *testing.T) {
	config := &modeldir.Config{
		ExpressionEncoding: modeldir.Scale, Decoder: &modeldir.DecoderInputs{ReadDepth: true, DatasetDim: 5},
		Dimensions: modeldir.Dimensions{TokenDim: 16, EmSize: 8, NLayers: 2, OutputDim: 7, DatasetDim: 5},
	}
	stages := []string{"gene_embedding", "scaled_gene_embedding", "projection", "tokens", "layer_1", "layer_2", "head"}
	for v, want := range map[modeldir.Variant][2][]string{
		modeldir.Dense:      {{"gene_indices", "expression_values"}, {"cls", "dataset_embedding"}},
		modeldir.Weighted:   {{"gene_indices", "expression_values", "log_multiplicity"}, {"cls", "dataset_embedding"}},
		modeldir.Contextual: {{"gene_indices", "expression_values", "log_multiplicity"}, {"contextual"}},
		modeldir.Attention:  {{"gene_indices", "expression_values", "log_multiplicity"}, {"attention"}},
		modeldir.Trace: {
			{"gene_indices", "expression_values", "log_multiplicity"}, append([]string{"cls", "dataset_embedding"}, stages...),
		},
		modeldir.Decoder: {{"genes", "cells"}, {"expression"}},
	} {
		if in, out := namesOf(config.Inputs(v)), namesOf(config.Outputs(v)); !slices.Equal(in, want[0]) || !slices.Equal(out, want[1]) {
			t.Errorf("%s: %q to %q", v, in, out)
		}
	}
	shapes := func(tensors []modeldir.Tensor, sizes modeldir.Sizes) (all [][]int) {
		for _, tensor := range tensors {
			all = append(all, tensor.ShapeOf(sizes))
		}
		return all
	}
	same := func(a, b [][]int) bool { return slices.EqualFunc(a, b, slices.Equal[[]int]) }
	got := shapes(config.Outputs(modeldir.Trace), modeldir.SentenceSizes(3, 9))
	want := [][]int{{3, 7}, {3, 5}, {3, 9, 16}, {3, 9, 16}, {3, 10, 8}, {3, 10, 8}, {3, 10, 8}, {3, 10, 8}, {3, 10, 7}}
	if !same(got, want) {
		t.Errorf("shapes %v, want %v", got, want)
	}
	sizes := modeldir.Sizes{modeldir.NGenes: 4, modeldir.NCells: 6}
	if got := shapes(config.Inputs(modeldir.Decoder), sizes); !same(got, [][]int{{4, 8}, {6, 13}}) {
		t.Errorf("the decoder's inputs are %v", got)
	}

	config.ExpressionEncoding, config.Dimensions.DatasetDim = modeldir.NoExpression, 0
	if out := namesOf(config.Outputs(modeldir.Dense)); !slices.Equal(out, []string{"cls"}) {
		t.Errorf("without a dataset token: %q", out)
	}
	got = shapes(config.Stages(), modeldir.SentenceSizes(3, 9))
	if want := [][]int{{3, 9, 16}, {3, 9, 8}, {3, 9, 8}, {3, 9, 8}, {3, 9, 8}, {3, 9, 7}}; !same(got, want) {
		t.Errorf("without a dataset token: %v, want %v", got, want)
	}
}

func TestNodeFLOP(t *testing.T) {
	d := modeldir.Dimensions{EmSize: 10, DHid: 20, NLayers: 3}
	const length = 7
	product, attention := float64(2*10*20), float64(4*length*10)
	layer := float64(2*10*(4*10+2*20)) + attention
	for _, c := range []struct {
		part int
		want float64
	}{{0, product + attention}, {1, layer}, {2, 2 * layer}, {99, 3 * layer}} {
		if got := d.NodeFLOP(modeldir.Form{LayersPerPart: c.part}, length); got != c.want {
			t.Errorf("%d layers a part: %v, want %v", c.part, got, c.want)
		}
	}
}

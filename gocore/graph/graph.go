// Package graph puts the graphs of a converted model together, in the form that
// an execution provider wants, over the weights in the model's directory.
//
// Weights of layers in an element type that the directory lacks are made from
// those in float32 when they are first needed, beside them.
package graph

import (
	"fmt"
	"maps"
	"math"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// Model gives a graph of a model directory as ONNX. Its weights are external
// data in files of that directory. Errors wrap [modeldir.ErrNotAModel],
// [ErrLayers] or [onnx.ErrGraph].
func Model(dir string, config *modeldir.Config, v modeldir.Variant, form modeldir.Form) ([]byte, error) {
	form = form.In(v)
	weights, err := modeldir.ReadIndex(dir, modeldir.Float32, config)
	if err != nil {
		return nil, err
	}
	// Every layer has tensors of its own: what a small file claims makes no large graph.
	if n := config.Dimensions.NLayers; n > len(weights) {
		return nil, fmt.Errorf("graph: the model has %d tensors for %d layers: %w", len(weights), n, modeldir.ErrNotAModel)
	}
	if form.Layers == modeldir.Int8 {
		layers, err := int8Layers(dir, config, weights)
		if err != nil {
			return nil, err
		}
		maps.Copy(weights, layers)
	}
	g := newBuilder(string(v), config, weights, form)
	put := map[modeldir.Variant]func([]onnx.Value) map[string]onnx.Value{
		modeldir.Dense: g.embedding, modeldir.Weighted: g.embedding, modeldir.Contextual: g.contextual,
		modeldir.Attention: g.attentionOfCLS, modeldir.Trace: g.trace, modeldir.Decoder: g.decoder,
	}[v]
	g.outputs(v, put(g.inputs(v)))
	return g.model()
}

// embedding is the dense graph or, with a third input, the weighted one.
func (g *builder) embedding(inputs []onnx.Value) map[string]onnx.Value {
	x := g.foldedTokens(inputs[0], inputs[1])
	var bias, biasAll onnx.Value
	if len(inputs) > 2 {
		bias = g.attentionBias(inputs[2])
	}
	x = g.compute(g.form.Computed(), x)
	if bias != "" {
		biasAll = g.forEveryToken(bias, x)
	}
	last := g.Dimensions.NLayers - 1
	for i := range last {
		x = g.pause(i, g.layer(i, x, biasAll))
	}
	x = g.compute(modeldir.Float32, x)
	cls := g.slice(x, 0, 1)
	other := cls
	if g.Dimensions.DatasetDim > 0 {
		other = g.slice(x, -1, math.MaxInt32)
	}
	read := g.concat(cls, other)
	g.form.Layers, g.form.Folded = modeldir.Float32, false // few tokens cost next to nothing
	attend := g.attentionOfRead
	if g.form.WholeRead {
		attend = g.attention
		if bias != "" {
			bias = g.forEveryToken(bias, read)
		}
	}
	return g.results(g.head(g.afterAttention(last, read, attend(read, x, bias, modeldir.LayerPrefix(last)))))
}

// contextual is the weighted graph up to the last layer, which it runs on every
// token.
func (g *builder) contextual(inputs []onnx.Value) map[string]onnx.Value {
	x := g.foldedTokens(inputs[0], inputs[1])
	bias := g.attentionBias(inputs[2])
	x = g.compute(g.form.Computed(), x)
	bias = g.forEveryToken(bias, x)
	for i := range g.Dimensions.NLayers {
		x = g.pause(i, g.layer(i, x, bias))
	}
	x = g.compute(modeldir.Float32, x)
	if g.Dimensions.DatasetDim > 0 {
		x = g.slice(x, 0, -1)
	}
	return map[string]onnx.Value{modeldir.ContextualEmbedding: x}
}

// results are the embedding, not normalised, and the dataset embedding, from
// the head's vectors: [CLS] first, the dataset token last.
func (g *builder) results(head onnx.Value) map[string]onnx.Value {
	at := func(x onnx.Value, position int64) onnx.Value {
		return g.Op("Squeeze", []onnx.Value{g.Op("Gather", []onnx.Value{x, g.Ints(position)},
			onnx.Attr{Name: "axis", Value: 1}), g.Ints(1)})
	}
	results := map[string]onnx.Value{modeldir.CLS: at(head, 0)}
	if g.Dimensions.DatasetDim > 0 {
		// Of every row, then one picked: see nRead.
		results[modeldir.DatasetEmbedding] = at(g.linear(head, "dataset_embedder"), -1)
	}
	return results
}

// trace leaves out nothing: it looks up the checkpoint's own gene table,
// projects every token, runs every layer and the head on every token, and has
// every stage as an output. It is made of standard operators alone, so that it
// also checks the fused ones.
func (g *builder) trace(inputs []onnx.Value) map[string]onnx.Value {
	tokens, values, d := inputs[0], inputs[1], g.Dimensions
	stages := map[string]onnx.Value{}

	e := g.lookUp(tokens)
	stages[modeldir.GeneEmbedding] = e
	if g.ExpressionEncoding == modeldir.Scale {
		e = g.Op("Mul", []onnx.Value{e, g.factors(values)})
		stages[modeldir.ScaledGeneEmbedding] = e
	}
	if d.DatasetDim > 0 {
		e = g.concat(e, g.repeatRow(g.weight("dataset_token"), tokens, d.TokenDim))
	}
	x := g.tokenFromProduct(g.matMul(e, "encoder.0.weight"))
	stages[modeldir.Projection] = x
	if g.ExpressionEncoding == modeldir.SoftBins {
		bins := g.softBins(values)
		if d.DatasetDim > 0 {
			shape := g.Op("Concat", []onnx.Value{g.batchOf(values), g.Ints(1, int64(d.EmSize))}, onnx.Attr{Name: "axis", Value: 0})
			bins = g.concat(bins, g.Op("Expand", []onnx.Value{g.Scalar(0), shape}))
		}
		x = g.Op("Add", []onnx.Value{x, bins})
	}
	stages[modeldir.Tokens] = x
	bias := g.attentionBias(inputs[2])
	for i := range d.NLayers {
		x = g.layer(i, x, bias)
		stages[modeldir.LayerOutput(i)] = x
	}
	head := g.head(x)
	stages[modeldir.Head] = head
	maps.Copy(stages, g.results(head))
	return stages
}

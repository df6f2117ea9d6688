package graph

import (
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// attentionOfCLS is the weighted graph that gives, for every layer, the attention
// of [CLS] to every slot, as the mean over the heads: [B, layers, S]. A slot with
// a multiplicity has the attention to all of its copies, which the bias adds up.
// The dataset token is left out, so that a layer's attention adds up to less than
// 1 where there is one. Of the last layer nothing else is needed.
func (g *builder) attentionOfCLS(inputs []onnx.Value) map[string]onnx.Value {
	x := g.foldedTokens(inputs[0], inputs[1])
	bias := g.attentionBias(inputs[2])
	x = g.compute(g.form.Computed(), x)
	biasAll := g.forEveryToken(bias, x)
	layers := make([]onnx.Value, g.Dimensions.NLayers)
	for i := range layers {
		layers[i] = g.attentionOfCLSIn(i, x, bias)
		if i+1 < len(layers) {
			x = g.pause(i, g.layer(i, x, biasAll))
		}
	}
	attention := g.concat(layers...)
	if g.Dimensions.DatasetDim > 0 {
		attention = g.Op("Slice", []onnx.Value{attention, g.Ints(0), g.Ints(-1), g.Ints(2)})
	}
	return map[string]onnx.Value{modeldir.CLSAttention: attention}
}

// attentionOfCLSIn is that of one layer, to all tokens x that enter it, [B, 1, T].
// It is computed in float32 whatever the form: for one query that costs little.
func (g *builder) attentionOfCLSIn(layer int, x, bias onnx.Value) onnx.Value {
	form, element := g.form, g.element
	x = g.compute(modeldir.Float32, x)
	g.form.Layers, g.form.Folded = modeldir.Float32, false
	cls := g.slice(x, 0, 1)
	weights := g.attentionWeights(g.concat(cls, cls), x, bias, modeldir.LayerPrefix(layer)) // two rows: see nRead
	g.form, g.element = form, element
	return g.slice(g.meanOfHeads(weights), 0, 1)
}

// meanOfHeads is the mean of [B, heads, n, T] over the heads. ONNX Runtime's
// ReduceMean adds up in another order for a batch of one.
func (g *builder) meanOfHeads(x onnx.Value) onnx.Value {
	heads := make([]onnx.Value, g.Dimensions.NHead)
	for i := range heads {
		heads[i] = g.slice(x, int64(i), int64(i)+1)
	}
	sum := g.Op("Squeeze", []onnx.Value{g.Op("Sum", heads), g.Ints(1)})
	return g.Op("Mul", []onnx.Value{sum, g.Scalar(1 / float32(len(heads)))})
}

package graph

import (
	"math"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// attention is the attention of some queries, which may be all tokens, to the
// tokens x, before out_proj.
func (g *builder) attention(queries, x, bias onnx.Value, prefix string) onnx.Value {
	if g.form.StandardOperators {
		return g.standardAttention(queries, x, bias, prefix)
	}
	if g.form.Folded {
		inputs := []onnx.Value{g.foldedQueries(queries, prefix), g.product(x, prefix+modeldir.Keys), g.product(x, prefix+modeldir.Values)}
		if bias != "" {
			inputs = append(inputs, "", "", bias)
		}
		return g.Fused("MultiHeadAttention", inputs,
			onnx.Attr{Name: "num_heads", Value: g.Dimensions.NHead}, onnx.Attr{Name: "scale", Value: float32(1)})
	}
	var inputs []onnx.Value
	if queries == x { // in 8 bits, they are rounded once
		inputs = g.products(x, prefix+modeldir.Queries, prefix+modeldir.Keys, prefix+modeldir.Values)
	} else {
		inputs = append(g.products(queries, prefix+modeldir.Queries), g.products(x, prefix+modeldir.Keys, prefix+modeldir.Values)...)
	}
	inputs = append(inputs, g.weight(prefix+"qkv_proj.bias"))
	if bias != "" {
		inputs = append(inputs, "", bias)
	}
	return g.Fused("MultiHeadAttention", inputs, onnx.Attr{Name: "num_heads", Value: g.Dimensions.NHead})
}

// partOfBias is the part of qkv_proj's bias for the queries (0), keys (1) or
// values (2), as it is stored.
func (g *builder) partOfBias(prefix string, part int64) onnx.Value {
	d := int64(g.Dimensions.EmSize)
	return g.Op("Slice", []onnx.Value{g.stored(prefix + "qkv_proj.bias"), g.Ints(part * d), g.Ints((part + 1) * d), g.Ints(0)})
}

// scale is what attention's scores are multiplied with.
func (g *builder) scale() onnx.Value {
	return g.Scalar(float32(1 / math.Sqrt(float64(g.Dimensions.EmSize/g.Dimensions.NHead))))
}

// foldedQueries are the queries with the scale of attention in them.
func (g *builder) foldedQueries(x onnx.Value, prefix string) onnx.Value {
	scaled := func(name string, v onnx.Value) onnx.Value {
		return g.rounded(prefix+name, g.Op("Mul", []onnx.Value{v, g.scale()}))
	}
	weights := scaled("scaled queries", g.stored(prefix+modeldir.Queries))
	return g.Op("Add", []onnx.Value{
		g.Op("MatMul", []onnx.Value{x, weights}), scaled("scaled bias of queries", g.partOfBias(prefix, 0)),
	})
}

// outBias is out_proj's bias; folded, it has the values' bias in it, as
// attention's weights add up to 1.
func (g *builder) outBias(prefix string) onnx.Value {
	if !g.form.Folded {
		return g.weight(prefix + "out_proj.bias")
	}
	ofValues := g.Op("MatMul", []onnx.Value{g.partOfBias(prefix, 2), g.stored(prefix + "out_proj.weight")})
	return g.rounded(prefix+"folded bias", g.Op("Add", []onnx.Value{ofValues, g.stored(prefix + "out_proj.bias")}))
}

func (g *builder) standardAttention(queries, x, bias onnx.Value, prefix string) onnx.Value {
	weights := g.attentionWeights(queries, x, bias, prefix)
	v := g.heads(g.biased(x, prefix, modeldir.Values, 2), []int{0, 2, 1, 3})
	mixed := g.Op("Transpose", []onnx.Value{g.Op("MatMul", []onnx.Value{weights, v})}, onnx.Attr{Name: "perm", Value: []int{0, 2, 1, 3}})
	return g.Op("Reshape", []onnx.Value{mixed, g.Ints(0, 0, int64(g.Dimensions.EmSize))})
}

// heads takes tokens apart, [B, T, emsize] as [B, T, heads, width], and orders
// these dimensions.
func (g *builder) heads(x onnx.Value, order []int) onnx.Value {
	x = g.Op("Reshape", []onnx.Value{x, g.Ints(0, 0, int64(g.Dimensions.NHead), int64(g.Dimensions.EmSize/g.Dimensions.NHead))})
	return g.Op("Transpose", []onnx.Value{x}, onnx.Attr{Name: "perm", Value: order})
}

// biased is a product with the weight of a part of attention, with its bias
// where that is not folded away.
func (g *builder) biased(x onnx.Value, prefix, part string, position int64) onnx.Value {
	x = g.matMul(x, prefix+part)
	if g.form.Folded {
		return x
	}
	return g.Op("Add", []onnx.Value{x, g.partOfBias(prefix, position)})
}

// attentionWeights are the shares of attention of some queries to the tokens x,
// [B, heads, queries, T]. They add up to 1 over T.
func (g *builder) attentionWeights(queries, x, bias onnx.Value, prefix string) onnx.Value {
	var q onnx.Value
	if g.form.Folded {
		q = g.foldedQueries(queries, prefix)
	} else {
		q = g.biased(queries, prefix, modeldir.Queries, 0)
	}
	q = g.heads(q, []int{0, 2, 1, 3})
	k := g.heads(g.biased(x, prefix, modeldir.Keys, 1), []int{0, 2, 3, 1})
	scores := g.Op("MatMul", []onnx.Value{q, k})
	if !g.form.Folded {
		scores = g.Op("Mul", []onnx.Value{scores, g.scale()})
	}
	if bias != "" {
		scores = g.Op("Add", []onnx.Value{scores, bias})
	}
	return g.Op("Softmax", []onnx.Value{scores}, onnx.Attr{Name: "axis", Value: -1})
}

// layer is one post-norm transformer layer.
func (g *builder) layer(i int, x, bias onnx.Value) onnx.Value {
	return g.afterAttention(i, x, g.attention(x, x, bias, modeldir.LayerPrefix(i)))
}

// afterAttention is the rest of a layer.
func (g *builder) afterAttention(i int, x, attention onnx.Value) onnx.Value {
	prefix := modeldir.LayerPrefix(i)
	h := g.addNorm(x, g.product(attention, prefix+"out_proj.weight"), g.outBias(prefix), prefix+"norm1")
	f := g.biasGelu(g.product(h, prefix+"linear1.weight"), prefix+"linear1.bias")
	return g.addNorm(h, g.product(f, prefix+"linear2.weight"), g.weight(prefix+"linear2.bias"), prefix+"norm2")
}

// biasGelu is the exact Gelu (erf) of x + bias.
func (g *builder) biasGelu(x onnx.Value, bias string) onnx.Value {
	inputs := []onnx.Value{x, g.weight(bias)}
	if g.form.StandardOperators {
		return g.Op("Gelu", []onnx.Value{g.Op("Add", inputs)}) // erf by default
	}
	return g.Fused("BiasGelu", inputs)
}

// pause ends a part after some layer. OpenVINO makes one node of all that it
// can run, and a run ends early only between nodes; SampleOp, an echo, is not
// among what it can.
func (g *builder) pause(layer int, x onnx.Value) onnx.Value {
	if n := layer + 1; g.form.LayersPerPart == 0 || n%g.form.LayersPerPart != 0 || n == g.Dimensions.NLayers {
		return x
	}
	return g.Fused("SampleOp", []onnx.Value{x})
}

// attentionBias turns log-multiplicities, [B, S], into what is added to the
// attention scores of T keys, as [B, 1, 1, T].
func (g *builder) attentionBias(logMultiplicity onnx.Value) onnx.Value {
	bias := logMultiplicity
	if g.Dimensions.DatasetDim > 0 {
		shape := g.Op("Concat", []onnx.Value{g.batchOf(bias), g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
		bias = g.concat(bias, g.Op("Expand", []onnx.Value{g.Scalar(0), shape}))
	}
	return g.Op("Unsqueeze", []onnx.Value{bias, g.Ints(1, 2)})
}

// forEveryToken gives a bias the type that is computed with, and repeats it for
// the T queries of x, [B, T, emsize], which ONNX Runtime's fused operator does
// not do by itself.
func (g *builder) forEveryToken(bias, x onnx.Value) onnx.Value {
	bias = g.rounded("attention bias", bias)
	if g.form.StandardOperators {
		return bias
	}
	nTokens := g.Op("Shape", []onnx.Value{x}, onnx.Attr{Name: "start", Value: 1}, onnx.Attr{Name: "end", Value: 2})
	shape := g.Op("Concat", []onnx.Value{g.Ints(1, 1), nTokens, g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{bias, shape})
}

// skipBlock finishes a skip block whose first Linear gave inside:
// LayerNorm(x + dense(ReLU(inside))).
func (g *builder) skipBlock(x, inside onnx.Value, name string) onnx.Value {
	h := g.Op("Relu", []onnx.Value{inside})
	return g.addNorm(x, g.matMul(h, name+".dense.weight"), g.weight(name+".dense.bias"), name+".layer_norm")
}

// head is the decoder head on tokens.
func (g *builder) head(x onnx.Value) onnx.Value {
	return g.linear(g.skipBlock(x, g.linear(x, "decoder.0.intermediate_dense"), "decoder.0"), "decoder.1")
}

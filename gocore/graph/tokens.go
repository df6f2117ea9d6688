package graph

import (
	"math"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// factors are the numbers that the "scale" encoding multiplies the looked-up
// embeddings with, [B, S, 1]: a token's value, 1 for slot 0.
func (g *builder) factors(values onnx.Value) onnx.Value {
	return g.concat(g.ones(values), g.slice(g.column(values), 1, math.MaxInt32))
}

// softBins is the learned embedding of the values, [B, S, emsize]. A cell has
// few different values (one for each count), so each is embedded once: in narrow
// models the hidden layer, 512 wide, would take as long as a transformer layer's
// products.
func (g *builder) softBins(values onnx.Value) onnx.Value {
	if g.form.PlainBins {
		return g.softBinsOf(g.column(values))
	}
	found := g.Ops("Unique", []onnx.Value{values}, 3, onnx.Attr{Name: "sorted", Value: 1})
	// One row alone may be multiplied by another kernel, which rounds differently.
	zero := g.Op("Unsqueeze", []onnx.Value{g.Scalar(0), g.Ints(0)})
	different, place := g.Op("Concat", []onnx.Value{found[0], zero}, onnx.Attr{Name: "axis", Value: 0}), found[2]
	place = g.Op("Reshape", []onnx.Value{place, g.Op("Shape", []onnx.Value{values})})
	return g.Op("Gather", []onnx.Value{g.softBinsOf(g.column(different)), place})
}

// softBinsOf embeds single values, [..., 1].
func (g *builder) softBinsOf(values onnx.Value) onnx.Value {
	h := g.linear(values, "count_encoder.0")
	h = g.Op("LeakyRelu", []onnx.Value{h}, onnx.Attr{Name: "alpha", Value: float32(0.01)})
	bins := g.Op("Softmax", []onnx.Value{g.linear(h, "count_encoder.2")}, onnx.Attr{Name: "axis", Value: -1})
	return g.matMul(bins, "bin_encoder.weight")
}

// foldedTokens are the tokens that enter the first layer, [B, T, emsize], from
// the folded table; T is S, and one more with a dataset token.
func (g *builder) foldedTokens(tokens, values onnx.Value) onnx.Value {
	table := g.weight(modeldir.FoldedTable)
	x := g.Op("Gather", []onnx.Value{table, tokens})
	dataset := func() onnx.Value {
		row := g.Op("Gather", []onnx.Value{table, g.Ints(int64(g.Dimensions.NGenes) + 1)})
		return g.repeatRow(row, tokens, g.Dimensions.EmSize)
	}
	switch g.ExpressionEncoding {
	case modeldir.SoftBins:
		x = g.Op("Add", []onnx.Value{x, g.softBins(values)})
	case modeldir.Scale:
		x = g.Op("Mul", []onnx.Value{x, g.factors(values)})
		if g.Dimensions.DatasetDim > 0 {
			x = g.concat(x, dataset())
		}
		return g.tokenFromProduct(x)
	}
	if g.Dimensions.DatasetDim > 0 {
		x = g.concat(x, dataset())
	}
	return x
}

// lookUp is the row of each token in the checkpoint's own table, of unit length,
// and the learned [CLS] wherever that stands: in slot 0, and in slots of
// padding. The table has no row for it.
func (g *builder) lookUp(tokens onnx.Value) onnx.Value {
	wide := g.Op("Cast", []onnx.Value{tokens}, onnx.Attr{Name: "to", Value: int(onnx.Int64)})
	row := g.Op("Min", []onnx.Value{wide, g.Ints(int64(g.Dimensions.NGenes) - 1)})
	genes := g.Op("Gather", []onnx.Value{g.weight(modeldir.GeneTable), row})
	length := g.Op("ReduceL2", []onnx.Value{genes, g.Ints(-1)})
	genes = g.Op("Div", []onnx.Value{genes, g.Op("Max", []onnx.Value{length, g.Scalar(1e-12)})})
	isCLS := g.column(g.Op("Equal", []onnx.Value{wide, g.Ints(int64(g.Dimensions.NGenes))}))
	return g.Op("Where", []onnx.Value{isCLS, g.weight("cls_token"), genes})
}

// projectionFromProduct finishes the projection of W·e:
// SiLU(LayerNorm(W·e + b)).
func (g *builder) projectionFromProduct(product onnx.Value) onnx.Value {
	x := g.Op("Add", []onnx.Value{product, g.weight("encoder.0.bias")})
	x = g.layerNorm(x, "encoder.1")
	return g.Op("Mul", []onnx.Value{x, g.Op("Sigmoid", []onnx.Value{x})})
}

// tokenFromProduct is the projection times sqrt(emsize), as tokens have it.
func (g *builder) tokenFromProduct(product onnx.Value) onnx.Value {
	return g.Op("Mul", []onnx.Value{g.projectionFromProduct(product), g.Scalar(float32(math.Sqrt(float64(g.Dimensions.EmSize))))})
}

package graph

import (
	"github.com/se600m/se600m-go/gocore/onnx"
)

// maxInt8 is what the largest absolute value of a channel or a token becomes.
const maxInt8 = 127

// int8Products multiplies in 8 bits. A weight has a scale an output channel, a
// token one of its own, so that no token's numbers depend on its neighbours.
// Sums are whole numbers, the same in whatever order.
func (g *builder) int8Products(x onnx.Value, weights []string) (products []onnx.Value) {
	tokens, scale := g.tokensInInt8(x, g.widthOf(weights[0]))
	for _, name := range weights {
		// The operator knows no scale a token: 1 here, and the scale afterwards.
		y := g.Fused("MatMulIntegerToFloat", []onnx.Value{
			tokens, g.weight(name + int8Suffix), g.Scalar(1), g.weight(name + scaleSuffix),
			g.Byte(onnx.Uint8, int8Zero), g.Byte(onnx.Int8, 0),
		})
		products = append(products, g.Op("Mul", []onnx.Value{y, scale}))
	}
	return products
}

// widthOf is how wide the tokens are that are multiplied with a weight.
func (g *builder) widthOf(weight string) int {
	shape := g.weights[weight].Shape
	if len(shape) != 2 {
		g.missing = append(g.missing, weight)
		return 0
	}
	return shape[0]
}

// int8Zero is the whole number that 0 becomes: ONNX Runtime's kernels take
// tokens without a sign.
const int8Zero = 128

// tokensInInt8 rounds tokens of a width to whole numbers, and gives a scale
// each, [B, T, 1].
func (g *builder) tokensInInt8(x onnx.Value, width int) (whole, scale onnx.Value) {
	largest := g.Op("Max", []onnx.Value{
		g.Op("ReduceMax", []onnx.Value{x, g.Ints(-1)}),
		g.Op("Neg", []onnx.Value{g.Op("ReduceMin", []onnx.Value{x, g.Ints(-1)})}),
		g.Scalar(1e-20), // for a token of zeros
	})
	scale = g.Op("Mul", []onnx.Value{largest, g.Scalar(1. / maxInt8)})
	zero := g.Op("Expand", []onnx.Value{g.Byte(onnx.Uint8, int8Zero), g.Op("Shape", []onnx.Value{scale})})
	whole = g.Op("QuantizeLinear", []onnx.Value{x, scale, zero},
		onnx.Attr{Name: "axis", Value: -1}, onnx.Attr{Name: "block_size", Value: width})
	return whole, scale
}

// A layer's weights in 8 bits, and their scales, are placed under the weight's
// name and these.
const (
	int8Suffix  = ".int8"
	scaleSuffix = ".scale"
)

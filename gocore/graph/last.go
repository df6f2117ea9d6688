package graph

import (
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// nRead is how many tokens are read at the end: [CLS], and the dataset token or
// [CLS] once more. One row a sentence would be another number for a batch of
// one: a product with a single row has a kernel of its own, which rounds
// differently.
const nRead = 2

// attentionOfRead is the attention of the tokens that are read at the end, [B,
// nRead, emsize], to all tokens x, before out_proj. No token's key or value is
// needed for so few queries: a head's scores are (Wkᵀ q)·x, its sum is
// Wv (Σ p x) + b, as Σ p is 1, and the keys' bias changes no softmax. The bias,
// if any, is [B, 1, 1, T].
func (g *builder) attentionOfRead(read, x, bias onnx.Value, prefix string) onnx.Value {
	d, nHead := int64(g.Dimensions.EmSize), int64(g.Dimensions.NHead)
	width := d / nHead
	// [B, n, heads × width] as [B, heads, n, width] and back
	apart := func(x onnx.Value) onnx.Value {
		x = g.Op("Reshape", []onnx.Value{x, g.Ints(0, 0, nHead, -1)})
		return g.Op("Transpose", []onnx.Value{x}, onnx.Attr{Name: "perm", Value: []int{0, 2, 1, 3}})
	}
	together := func(x onnx.Value) onnx.Value {
		x = g.Op("Transpose", []onnx.Value{x}, onnx.Attr{Name: "perm", Value: []int{0, 2, 1, 3}})
		return g.Op("Reshape", []onnx.Value{x, g.Ints(0, 0, -1)})
	}
	// A projection's weight, [in, heads × width], by head; it is turned around
	// once, when the model is opened.
	ofHeads := func(weight string, perm ...int) onnx.Value {
		w := g.Op("Reshape", []onnx.Value{g.weight(weight), g.Ints(d, nHead, width)})
		return g.Op("Transpose", []onnx.Value{w}, onnx.Attr{Name: "perm", Value: perm})
	}
	q := g.Op("Add", []onnx.Value{g.matMul(read, prefix+modeldir.Queries), g.partOfBias(prefix, 0)})
	q = g.Op("Mul", []onnx.Value{q, g.scale()})
	u := g.Op("MatMul", []onnx.Value{apart(q), ofHeads(prefix+modeldir.Keys, 1, 2, 0)})
	u = g.Op("Reshape", []onnx.Value{u, g.Ints(0, nHead*nRead, d)})
	turned := g.Op("Transpose", []onnx.Value{x}, onnx.Attr{Name: "perm", Value: []int{0, 2, 1}})
	scores := g.Op("MatMul", []onnx.Value{u, turned})
	if bias != "" {
		scores = g.Op("Add", []onnx.Value{scores, g.Op("Squeeze", []onnx.Value{bias, g.Ints(1)})})
	}
	p := g.Op("Softmax", []onnx.Value{scores}, onnx.Attr{Name: "axis", Value: -1})
	sums := g.Op("Reshape", []onnx.Value{g.Op("MatMul", []onnx.Value{p, x}), g.Ints(0, nHead, nRead, d)})
	values := together(g.Op("MatMul", []onnx.Value{sums, ofHeads(prefix+modeldir.Values, 1, 0, 2)}))
	return g.Op("Add", []onnx.Value{values, g.partOfBias(prefix, 2)})
}

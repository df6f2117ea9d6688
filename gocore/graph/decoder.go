package graph

import (
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// rowByRow is a product with as many rows as x has, even a single one, that is
// the same for a row whatever the others are: it is made with a row more, see
// nRead.
func (g *builder) rowByRow(x onnx.Value, weight string) onnx.Value {
	rows := func(x onnx.Value, from, to int64) onnx.Value {
		return g.Op("Slice", []onnx.Value{x, g.Ints(from), g.Ints(to), g.Ints(0)})
	}
	more := g.Op("Concat", []onnx.Value{x, rows(x, 0, 1)}, onnx.Attr{Name: "axis", Value: 0})
	return rows(g.matMul(more, weight), 0, -1)
}

// decoder predicts the expression of G genes in C cells, [C, G], from
// gene embeddings, [G, emsize], and what the decoder takes for a cell, [C,
// cell width]. The first Linear acts on a gene beside a cell; it is the sum of
// its actions on each, which are computed once a gene and once a cell. From
// the ReLU on, every pair is computed on its own; there must be two at least,
// see nRead.
func (g *builder) decoder(inputs []onnx.Value) map[string]onnx.Value {
	const first = modeldir.DecoderBlock1 + ".intermediate_dense"
	g.element = g.form.Computed()
	genes, cells := g.rounded("genes", inputs[0]), g.rounded("cells", inputs[1])
	perCell := func(x onnx.Value) onnx.Value { return g.Op("Unsqueeze", []onnx.Value{x, g.Ints(1)}) }

	ofCells := g.Op("Add", []onnx.Value{g.rowByRow(cells, first+modeldir.CellPart), g.weight(first + ".bias")})
	inside := g.Op("Add", []onnx.Value{perCell(ofCells), g.rowByRow(genes, first+modeldir.GenePart)})
	pairs := g.Op("Concat", []onnx.Value{g.batchOf(cells), g.batchOf(genes), g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
	x := g.Op("Concat", []onnx.Value{
		g.Op("Expand", []onnx.Value{genes, pairs}), g.Op("Expand", []onnx.Value{perCell(cells), pairs}),
	}, onnx.Attr{Name: "axis", Value: 2})
	x = g.skipBlock(x, inside, modeldir.DecoderBlock1)
	x = g.skipBlock(x, g.linear(x, modeldir.DecoderBlock2+".intermediate_dense"), modeldir.DecoderBlock2)
	expression := g.Op("Squeeze", []onnx.Value{g.linear(x, modeldir.DecoderOutput), g.Ints(2)})
	return map[string]onnx.Value{modeldir.Expression: g.compute(modeldir.Float32, expression)}
}

package convert

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// The expression decoder's layers by name.
const (
	decoderBlock1 = "binary_decoder.0"
	decoderBlock2 = "binary_decoder.1"
	decoderOutput = "binary_decoder.2"
)

// decoderInputs finds out what the decoder takes: a gene embedding, a cell's
// embedding, the read depth if the configuration says so, and the dataset
// embedding if its width leaves room for one. Nil: there is no decoder.
func decoderInputs(c *checkpoint.Checkpoint, d *modeldir.Dimensions) (*modeldir.DecoderInputs, error) {
	const name = decoderBlock1 + ".intermediate_dense.weight"
	t, has := c.Tensors[name]
	if !has {
		return nil, nil
	}
	if len(t.Shape) != 2 {
		return nil, fmt.Errorf("convert: tensor %q has shape %v: %w", name, t.Shape, ErrTensors)
	}
	in := &modeldir.DecoderInputs{ReadDepth: c.Config.ReadDepth}
	least := d.EmSize + d.OutputDim
	if in.ReadDepth {
		least++
	}
	switch t.Shape[1] {
	case least:
	case least + d.DatasetDim:
		in.DatasetDim = d.DatasetDim
	default:
		return nil, fmt.Errorf("convert: the expression decoder is %d wide (tensor %q): emsize %d, output_dim %d, "+
			"read depth (model.rda: %t) and a dataset embedding of %d make %d or %d: %w",
			t.Shape[1], name, d.EmSize, d.OutputDim, in.ReadDepth, d.DatasetDim, least, least+d.DatasetDim, ErrTensors)
	}
	return in, nil
}

// decoderCellWidth is the width of what the decoder takes for a cell: its
// embedding, the read depth and the dataset embedding.
func (s *source) decoderCellWidth() int {
	width := s.dims.OutputDim + s.decoder.DatasetDim
	if s.decoder.ReadDepth {
		width++
	}
	return width
}

func (s *source) decoderWidth() int { return s.dims.EmSize + s.decoderCellWidth() }

// writeDecoder writes decoder.bin. The first Linear is taken apart: its rows
// for the gene, and those for the cell.
func (s *source) writeDecoder(ctx context.Context, dir string, placed weights, progress func(int64)) (info modeldir.FileInfo, err error) {
	out, err := onnx.CreateWeights(filepath.Join(dir, modeldir.DecoderWeightsFile))
	if err != nil {
		return info, err
	}
	w := &weightsWriter{s, out, placed, progress}
	return finish(ctx, out, []func() error{
		w.decoderFirst,
		func() error { return w.linear(decoderBlock1 + ".dense") },
		func() error { return w.norm(decoderBlock1 + ".layer_norm") },
		func() error { return w.skipBlock(decoderBlock2) },
		func() error { return w.linear(decoderOutput) },
	})
}

func (w *weightsWriter) decoderFirst() error {
	const name = decoderBlock1 + ".intermediate_dense"
	values, err := w.read(name + ".weight")
	if err != nil {
		return err
	}
	width, genes := w.decoderWidth(), w.dims.EmSize
	inside := 2 * width
	values = transpose(values, inside, width)
	if err := w.put(name+".gene", values[:genes*inside], genes, inside); err != nil {
		return err
	}
	if err := w.put(name+".cell", values[genes*inside:], width-genes, inside); err != nil {
		return err
	}
	return w.copies(name + ".bias")
}

// rowByRow is a product with as many rows as x has, even a single one, that is
// the same for a row whatever the others are: it is made with a row more, see
// nRead.
func (g *graph) rowByRow(x onnx.Value, weight string) onnx.Value {
	rows := func(x onnx.Value, from, to int64) onnx.Value {
		return g.Op("Slice", []onnx.Value{x, g.Ints(from), g.Ints(to), g.Ints(0)})
	}
	more := g.Op("Concat", []onnx.Value{x, rows(x, 0, 1)}, onnx.Attr{Name: "axis", Value: 0})
	return rows(g.matMul(more, weight), 0, -1)
}

// decoderGraph predicts the expression of G genes in C cells, [C, G], from
// gene embeddings, [G, emsize], and what the decoder takes for a cell, [C,
// cell width]. The first Linear acts on a gene beside a cell; it is the sum of
// its actions on each, which are computed once a gene and once a cell. From
// the ReLU on, every pair is computed on its own; there must be two at least,
// see nRead.
func (s *source) decoderGraph(placed weights) *graph {
	const first = decoderBlock1 + ".intermediate_dense"
	g := newGraph(modeldir.Decoder, s, placed)
	genes := g.Input("genes", onnx.Float32, "n_genes", g.dims.EmSize)
	cells := g.Input("cells", onnx.Float32, "n_cells", s.decoderCellWidth())
	perCell := func(x onnx.Value) onnx.Value { return g.Op("Unsqueeze", []onnx.Value{x, g.Ints(1)}) }

	ofCells := g.Op("Add", []onnx.Value{g.rowByRow(cells, first+".cell"), g.weight(first + ".bias")})
	inside := g.Op("Add", []onnx.Value{perCell(ofCells), g.rowByRow(genes, first+".gene")})
	pairs := g.Op("Concat", []onnx.Value{g.batchOf(cells), g.batchOf(genes), g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
	x := g.Op("Concat", []onnx.Value{
		g.Op("Expand", []onnx.Value{genes, pairs}), g.Op("Expand", []onnx.Value{perCell(cells), pairs}),
	}, onnx.Attr{Name: "axis", Value: 2})
	x = g.skipBlock(x, inside, decoderBlock1)
	x = g.skipBlock(x, g.linear(x, decoderBlock2+".intermediate_dense"), decoderBlock2)
	expression := g.Op("Squeeze", []onnx.Value{g.linear(x, decoderOutput), g.Ints(2)})
	g.Output(expression, "expression", onnx.Float32, "n_cells", "n_genes")
	return g
}

package convert

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// decoderInputs finds out what the decoder takes: a gene embedding, a cell's
// embedding, the read depth if the configuration says so, and the dataset
// embedding if its width leaves room for one. Nil: there is no decoder.
func decoderInputs(c *checkpoint.Checkpoint, d *modeldir.Dimensions) (*modeldir.DecoderInputs, error) {
	const name = modeldir.DecoderBlock1 + ".intermediate_dense.weight"
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

// writeDecoder writes decoder.bin. The first Linear is taken apart: its rows
// for the gene, and those for the cell.
func (c *conversion) writeDecoder(ctx context.Context) error {
	steps := append([]step{(*weightsWriter).decoderFirst, linear(modeldir.DecoderBlock1 + ".dense"), norm(modeldir.DecoderBlock1 + ".layer_norm")},
		skipBlock(modeldir.DecoderBlock2)...)
	return c.file(ctx, modeldir.DecoderWeightsFile, append(steps, linear(modeldir.DecoderOutput))...)
}

func (w *weightsWriter) decoderFirst() error {
	const name = modeldir.DecoderBlock1 + ".intermediate_dense"
	values, err := w.read(name + ".weight")
	if err != nil {
		return err
	}
	width, genes := w.decoder.Width(w.dims), w.dims.EmSize
	inside := 2 * width
	values = transpose(values, inside, width)
	if err := w.put(name+modeldir.GenePart, values[:genes*inside], genes, inside); err != nil {
		return err
	}
	if err := w.put(name+modeldir.CellPart, values[genes*inside:], width-genes, inside); err != nil {
		return err
	}
	return copies(name + ".bias")(w)
}

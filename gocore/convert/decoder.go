package convert

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// readDecoder finds out what the decoder takes, if there is one: a gene
// embedding, a cell's embedding, the read depth if the configuration says so,
// and the dataset embedding if its width leaves room for one.
func (s *source) readDecoder() error {
	const name = modeldir.DecoderBlock1 + ".intermediate_dense.weight"
	if _, has := s.Tensors[name]; !has {
		return nil
	}
	_, width, err := s.matrix(name)
	if err != nil {
		return err
	}
	without := modeldir.DecoderInputs{ReadDepth: s.Config.ReadDepth}
	with := modeldir.DecoderInputs{ReadDepth: s.Config.ReadDepth, DatasetDim: s.dims.DatasetDim}
	switch width {
	case without.Width(s.dims):
		s.decoder = &without
	case with.Width(s.dims):
		s.decoder = &with
	default:
		return fmt.Errorf("convert: the expression decoder is %d wide (tensor %q), but emsize %d, output_dim %d, "+
			"read depth (model.rda: %t) and a dataset embedding of %d give %d or %d: %w",
			width, name, s.dims.EmSize, s.dims.OutputDim, s.Config.ReadDepth, s.dims.DatasetDim,
			without.Width(s.dims), with.Width(s.dims), ErrTensors)
	}
	return nil
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

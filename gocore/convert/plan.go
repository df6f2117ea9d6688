package convert

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// ErrTensors: a checkpoint's tensors are not those of a State model.
var ErrTensors = errors.New("tensors don't fit a State model")

// source is a checkpoint whose shapes have been checked.
type source struct {
	*checkpoint.Checkpoint
	dims    modeldir.Dimensions
	decoder *modeldir.DecoderInputs // nil: the checkpoint has none
	notes   []string
}

// inspect reads every dimension from the tensors, and compares with what the
// configuration says. The number of layers is the tensors': some public copies
// of SE-600M's config state another one. Any other disagreement is an error.
func inspect(c *checkpoint.Checkpoint) (*source, error) {
	s := &source{Checkpoint: c}
	for _, step := range []func() error{
		s.readDimensions, s.countLayers, s.compareWithConfig, s.checkDimensions, s.checkGenes, s.readDecoder, s.checkShapes,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// matrix is the shape of a tensor that must have two dimensions.
func (s *source) matrix(name string) (rows, columns int, err error) {
	t, has := s.Tensors[name]
	if !has {
		return 0, 0, fmt.Errorf("convert: tensor %q is missing (the checkpoint has %d tensors): %w", name, len(s.Tensors), ErrTensors)
	}
	if len(t.Shape) != 2 {
		return 0, 0, fmt.Errorf("convert: tensor %q has shape %v, but must have two dimensions: %w", name, t.Shape, ErrTensors)
	}
	return t.Shape[0], t.Shape[1], nil
}

func (s *source) readDimensions() (err error) {
	d := &s.dims
	d.NGenes, d.NHead = s.Genes.Len(), s.Config.NHead
	d.PadLength, d.CLSTokenIdx = s.Config.PadLength, s.Config.CLSTokenIdx
	if d.EmSize, d.TokenDim, err = s.matrix("encoder.0.weight"); err != nil {
		return err
	}
	if d.DHid, _, err = s.matrix(modeldir.LayerPrefix(0) + "linear1.weight"); err != nil {
		return err
	}
	if d.OutputDim, _, err = s.matrix("decoder.1.weight"); err != nil {
		return err
	}
	if s.Config.DatasetCorrection {
		d.DatasetDim, _, err = s.matrix("dataset_embedder.weight")
	}
	return err
}

var layerName = regexp.MustCompile(`^transformer_encoder\.layers\.(\d+)\.`)

func (s *source) countLayers() error {
	for name := range s.Tensors {
		if match := layerName.FindStringSubmatch(name); match != nil {
			number, err := strconv.Atoi(match[1])
			if err != nil || number > 1<<12 {
				return fmt.Errorf("convert: tensor %q: %w", name, ErrTensors)
			}
			s.dims.NLayers = max(s.dims.NLayers, number+1)
		}
	}
	if n := s.Config.NLayers; n != 0 && n != s.dims.NLayers {
		s.notes = append(s.notes, fmt.Sprintf("the configuration has %d layers, but the tensors have %d: %d were converted",
			n, s.dims.NLayers, s.dims.NLayers))
	}
	return nil
}

func (s *source) compareWithConfig() error {
	for _, stated := range []struct {
		key           string
		config, found int
	}{
		{"model.emsize", s.Config.EmSize, s.dims.EmSize},
		{"model.d_hid", s.Config.DHid, s.dims.DHid},
		{"model.output_dim", s.Config.OutputDim, s.dims.OutputDim},
		{"tokenizer.token_dim", s.Config.TokenDim, s.dims.TokenDim},
		{"gene table width", s.Genes.Dim, s.dims.TokenDim},
	} {
		if stated.config != 0 && stated.config != stated.found {
			return fmt.Errorf("convert: %s is %d, but the tensors have %d: the configuration or the gene table "+
				"belongs to another checkpoint: %w", stated.key, stated.config, stated.found, ErrTensors)
		}
	}
	return nil
}

func (s *source) checkDimensions() error {
	d := s.dims
	switch {
	case d.EmSize == 0 || d.EmSize%d.NHead != 0:
		return fmt.Errorf("convert: emsize %d is not a multiple of nhead %d: %w", d.EmSize, d.NHead, ErrTensors)
	case d.DHid == 0 || d.OutputDim == 0:
		return fmt.Errorf("convert: d_hid %d, output_dim %d: %w", d.DHid, d.OutputDim, ErrTensors)
	case d.PadLength < 2:
		return fmt.Errorf("convert: dataset.pad_length is %d: %w", d.PadLength, ErrTensors)
	}
	if err := d.Check(); err != nil { // the model must be one that can be read
		return fmt.Errorf("convert: %w: %w", err, ErrTensors)
	}
	return nil
}

// checkGenes makes sure that genes.txt can have a gene a line.
func (s *source) checkGenes() error {
	for _, name := range s.Genes.Names {
		if strings.Contains(name, "\n") {
			return fmt.Errorf("convert: gene symbol %q has a line break: %w", name, checkpoint.ErrGeneTable)
		}
	}
	return nil
}

// checkShapes makes sure that every tensor needed is there in its shape.
func (s *source) checkShapes() error {
	for name, want := range s.needed() {
		t, has := s.Tensors[name]
		switch {
		case !has:
			return fmt.Errorf("convert: tensor %q is missing: %w", name, ErrTensors)
		case !slices.Equal(t.Shape, want):
			return fmt.Errorf("convert: tensor %q has shape %v, but %v is needed: %w", name, t.Shape, want, ErrTensors)
		}
	}
	return nil
}

// needed lists the tensors that the graphs use, with their shapes.
func (s *source) needed() map[string][]int {
	d := s.dims
	shapes := map[string][]int{"cls_token": {1, d.TokenDim}}
	linear := func(name string, out, in int) {
		shapes[name+".weight"], shapes[name+".bias"] = []int{out, in}, []int{out}
	}
	norm := func(name string, width int) {
		shapes[name+".weight"], shapes[name+".bias"] = []int{width}, []int{width}
	}
	// A skip block doubles its width inside.
	skip := func(name string, width int) {
		linear(name+".intermediate_dense", 2*width, width)
		linear(name+".dense", width, 2*width)
		norm(name+".layer_norm", width)
	}
	linear("encoder.0", d.EmSize, d.TokenDim)
	norm("encoder.1", d.EmSize)
	for i := range d.NLayers {
		prefix := modeldir.LayerPrefix(i)
		linear(prefix+"qkv_proj", 3*d.EmSize, d.EmSize)
		linear(prefix+"out_proj", d.EmSize, d.EmSize)
		linear(prefix+"linear1", d.DHid, d.EmSize)
		linear(prefix+"linear2", d.EmSize, d.DHid)
		norm(prefix+"norm1", d.EmSize)
		norm(prefix+"norm2", d.EmSize)
	}
	skip("decoder.0", d.EmSize)
	linear("decoder.1", d.OutputDim, d.EmSize)
	if s.decoder != nil {
		width := s.decoder.Width(s.dims)
		skip(modeldir.DecoderBlock1, width)
		skip(modeldir.DecoderBlock2, width)
		linear(modeldir.DecoderOutput, 1, width)
	}
	if s.Config.ExpressionEncoding == modeldir.SoftBins {
		linear("count_encoder.0", nHiddenBins, 1)
		linear("count_encoder.2", nBins, nHiddenBins)
		shapes["bin_encoder.weight"] = []int{nBins, d.EmSize}
	}
	if d.DatasetDim > 0 {
		shapes["dataset_token"] = []int{1, d.TokenDim}
		linear("dataset_embedder", d.DatasetDim, d.OutputDim)
	}
	return shapes
}

// The fixed sizes of soft bins.
const (
	nBins       = 10
	nHiddenBins = 512
)

func checkFinite(name string, values []float32) error {
	for i, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("convert: tensor %q has the value %v in element %d: %w", name, v, i, ErrTensors)
		}
	}
	return nil
}

// transpose turns a row-major [rows, columns] matrix around.
func transpose[T any](values []T, rows, columns int) []T {
	turned := make([]T, len(values))
	const block = 32 // keeps both sides in the cache
	for r0 := 0; r0 < rows; r0 += block {
		for c0 := 0; c0 < columns; c0 += block {
			for r := r0; r < min(r0+block, rows); r++ {
				for c := c0; c < min(c0+block, columns); c++ {
					turned[c*rows+r] = values[r*columns+c]
				}
			}
		}
	}
	return turned
}

package modeldir

import "fmt"

// Encoding is how a token's expression value enters the model.
type Encoding string

// The encodings.
const (
	// SoftBins adds a learned embedding of the value.
	SoftBins Encoding = "soft-bins"
	// Scale multiplies the looked-up gene embedding by the value.
	Scale Encoding = "scale"
	// NoExpression leaves the value out.
	NoExpression Encoding = "none"
)

// Dimensions of a model, all read from its checkpoint.
type Dimensions struct {
	NGenes      int `json:"n_genes"`
	TokenDim    int `json:"token_dim"`
	EmSize      int `json:"emsize"`
	DHid        int `json:"d_hid"`
	NHead       int `json:"nhead"`
	NLayers     int `json:"nlayers"`
	OutputDim   int `json:"output_dim"`
	DatasetDim  int `json:"dataset_dim"` // 0 without a dataset token
	PadLength   int `json:"pad_length"`
	CLSTokenIdx int `json:"cls_token_idx"`
}

// maxWidth and maxLayers are more than any model has: products of sizes stay far
// from overflow, and what is made for each layer stays small.
const (
	maxWidth  = 1 << 24
	maxLayers = 1 << 12
)

// Check makes sure that a model can have these dimensions.
func (d Dimensions) Check() error {
	for _, size := range []struct {
		name           string
		n, least, most int
	}{
		{"n_genes", d.NGenes, 1, maxWidth},
		{"token_dim", d.TokenDim, 1, maxWidth},
		{"emsize", d.EmSize, 1, maxWidth},
		{"d_hid", d.DHid, 1, maxWidth},
		{"nhead", d.NHead, 1, maxWidth},
		{"nlayers", d.NLayers, 1, maxLayers},
		{"output_dim", d.OutputDim, 1, maxWidth},
		{"dataset_dim", d.DatasetDim, 0, maxWidth},
		{"pad_length", d.PadLength, 2, maxWidth},
		{"cls_token_idx", d.CLSTokenIdx, 0, maxWidth},
	} {
		if size.n < size.least || size.n > size.most {
			return fmt.Errorf("%s is %d, but must be from %d to %d", size.name, size.n, size.least, size.most)
		}
	}
	if d.EmSize%d.NHead != 0 {
		return fmt.Errorf("emsize %d is not a multiple of nhead %d", d.EmSize, d.NHead)
	}
	return nil
}

// check makes sure that a model can be so.
func (c *Config) check() error {
	if err := c.Dimensions.Check(); err != nil {
		return fmt.Errorf("dimensions: %w", err)
	}
	switch c.ExpressionEncoding {
	case SoftBins, Scale, NoExpression:
	default:
		return fmt.Errorf("expression_encoding is %q, not %q, %q or %q", c.ExpressionEncoding, SoftBins, Scale, NoExpression)
	}
	if d := c.Decoder; d != nil && d.DatasetDim != 0 && d.DatasetDim != c.Dimensions.DatasetDim {
		return fmt.Errorf("decoder: dataset_dim is %d, but the model's is %d", d.DatasetDim, c.Dimensions.DatasetDim)
	}
	return nil
}

// DecoderInputs are what the expression decoder takes besides a gene embedding
// and a cell's embedding, in this order.
type DecoderInputs struct {
	ReadDepth  bool `json:"read_depth"`
	DatasetDim int  `json:"dataset_dim"` // 0: no dataset embedding
}

// CellWidth is the width of what the decoder takes for a cell: its embedding,
// the read depth and the dataset embedding.
func (i DecoderInputs) CellWidth(d Dimensions) int {
	width := d.OutputDim + i.DatasetDim
	if i.ReadDepth {
		width++
	}
	return width
}

// Width is the decoder's: a gene embedding beside what it takes for a cell.
func (i DecoderInputs) Width(d Dimensions) int { return d.EmSize + i.CellWidth(d) }

// LayerFLOP is how many operations a token takes in one layer, in a sentence of
// some length.
func (d Dimensions) LayerFLOP(length int) float64 {
	return float64(2*d.EmSize*(4*d.EmSize+2*d.DHid)) + float64(4*length*d.EmSize)
}

// NodeFLOP is how many operations a token takes in the largest node of a graph
// of some form: a provider that runs parts makes one node of each.
func (d Dimensions) NodeFLOP(f Form, length int) float64 {
	if f.LayersPerPart > 0 {
		return float64(min(d.NLayers, f.LayersPerPart)) * d.LayerFLOP(length)
	}
	return float64(2*d.EmSize*max(d.EmSize, d.DHid)) + float64(4*length*d.EmSize)
}

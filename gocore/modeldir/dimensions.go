package modeldir

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

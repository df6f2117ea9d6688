package modeldir

import "fmt"

// Variant is one of the graphs over a model's weights.
type Variant string

// The variants.
const (
	// Dense embeds sentences of one length, every token once.
	Dense Variant = "dense"
	// Weighted takes a multiplicity per token; 0 is padding.
	Weighted Variant = "weighted"
	// Contextual is weighted, and gives the last layer's vector of every slot.
	Contextual Variant = "contextual"
	// Attention is weighted, and gives the attention of [CLS] to every slot.
	Attention Variant = "attention"
	// Trace folds and leaves out nothing: every stage, every token.
	Trace Variant = "trace"
	// Decoder predicts log1p expression from gene embeddings and cells.
	Decoder Variant = "decoder"
)

// The names of inputs and outputs. Those from GeneEmbedding on are stages of
// the trace, as [LayerOutput] is.
const (
	GeneIndices         = "gene_indices"
	ExpressionValues    = "expression_values"
	LogMultiplicity     = "log_multiplicity"
	CLS                 = "cls"
	DatasetEmbedding    = "dataset_embedding"
	ContextualEmbedding = "contextual"
	CLSAttention        = "attention"
	DecoderGenes        = "genes"
	DecoderCells        = "cells"
	Expression          = "expression"

	GeneEmbedding       = "gene_embedding"
	ScaledGeneEmbedding = "scaled_gene_embedding"
	Projection          = "projection"
	Tokens              = "tokens"
	Head                = "head"
)

// LayerOutput names what comes out of a layer, counted from 0.
func LayerOutput(layer int) string { return fmt.Sprintf("layer_%d", layer+1) }

// Dim is a dimension of a tensor: a size, or the name of one that varies.
type Dim struct {
	Name string
	Size int
}

// The dimensions that vary. Sentences have Length slots, and WithDataset tokens
// counts the dataset token, too.
var (
	Batch       = Dim{Name: "batch"}
	Length      = Dim{Name: "length"}
	WithDataset = Dim{Name: "tokens"}
	NGenes      = Dim{Name: "n_genes"}
	NCells      = Dim{Name: "n_cells"}
)

// Tensor is an input or an output of a graph, row-major.
type Tensor struct {
	Name    string
	Element Element
	Shape   []Dim
}

// Sizes are those of the dimensions that vary.
type Sizes map[Dim]int

// SentenceSizes are the sizes of n sentences with a number of slots.
func SentenceSizes(n, length int) Sizes {
	return Sizes{Batch: n, Length: length, WithDataset: length + 1}
}

// ShapeOf is the tensor's shape where what varies has some sizes.
func (t Tensor) ShapeOf(sizes Sizes) []int {
	shape := make([]int, len(t.Shape))
	for i, d := range t.Shape {
		if shape[i] = d.Size; d.Name != "" {
			shape[i] = sizes[d]
		}
	}
	return shape
}

func floats(name string, shape ...Dim) Tensor { return Tensor{name, Float32, shape} }

func width(n int) Dim { return Dim{Size: n} }

// Inputs are what a graph takes, in order.
func (c *Config) Inputs(v Variant) []Tensor {
	if v == Decoder {
		return []Tensor{
			floats(DecoderGenes, NGenes, width(c.Dimensions.EmSize)),
			floats(DecoderCells, NCells, width(c.Decoder.CellWidth(c.Dimensions))),
		}
	}
	inputs := []Tensor{{GeneIndices, Int32, []Dim{Batch, Length}}, floats(ExpressionValues, Batch, Length)}
	if v != Dense {
		inputs = append(inputs, floats(LogMultiplicity, Batch, Length))
	}
	return inputs
}

// Outputs are what a graph gives, in order.
func (c *Config) Outputs(v Variant) []Tensor {
	d := c.Dimensions
	switch v {
	case Decoder:
		return []Tensor{floats(Expression, NCells, NGenes)}
	case Contextual:
		return []Tensor{floats(ContextualEmbedding, Batch, Length, width(d.EmSize))}
	case Attention:
		return []Tensor{floats(CLSAttention, Batch, width(d.NLayers), Length)}
	}
	outputs := []Tensor{floats(CLS, Batch, width(d.OutputDim))} // not normalised
	if d.DatasetDim > 0 {
		outputs = append(outputs, floats(DatasetEmbedding, Batch, width(d.DatasetDim)))
	}
	if v == Trace {
		outputs = append(outputs, c.Stages()...)
	}
	return outputs
}

// Stages are the dimension flow from the gene embedding lookup to the head, in
// order.
func (c *Config) Stages() []Tensor {
	d, rows := c.Dimensions, Length
	if d.DatasetDim > 0 {
		rows = WithDataset
	}
	stages := []Tensor{floats(GeneEmbedding, Batch, Length, width(d.TokenDim))}
	if c.ExpressionEncoding == Scale {
		stages = append(stages, floats(ScaledGeneEmbedding, Batch, Length, width(d.TokenDim)))
	}
	stages = append(stages, floats(Projection, Batch, rows, width(d.EmSize)), floats(Tokens, Batch, rows, width(d.EmSize)))
	for i := range d.NLayers {
		stages = append(stages, floats(LayerOutput(i), Batch, rows, width(d.EmSize)))
	}
	return append(stages, floats(Head, Batch, rows, width(d.OutputDim)))
}

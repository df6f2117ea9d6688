package statetest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dims are the dimensions of a model.
type Dims struct {
	NGenes, TokenDim, EmSize, DHid, NHead, NLayers, OutputDim, PadLength int
}

// Small are dimensions that keep tests fast and are all different.
var Small = Dims{
	NGenes: 40, TokenDim: 12, EmSize: 16, DHid: 24, NHead: 4, NLayers: 2, OutputDim: 10, PadLength: 20,
}

// Model is a State checkpoint in memory.
type Model struct {
	Dims
	// Encoding is how expression enters: "soft-bins", "scale" or "none".
	Encoding string
	// Dataset tells that the model has a dataset token.
	Dataset bool
	// Tensors is the state dict.
	Tensors map[string]Tensor
	// Genes are the symbols, Table their embeddings, [n genes, token_dim].
	Genes []string
	Table [][]float32

	random *rand.Rand
}

// NewModel draws a model. Every tensor of the reference that is read here is
// there, LayerNorm scales and biases random, too.
func NewModel(d Dims, encoding string, dataset bool) *Model {
	m := &Model{
		Dims: d, Encoding: encoding, Dataset: dataset, Tensors: map[string]Tensor{},
		random: rand.New(rand.NewPCG(1, uint64(d.EmSize))),
	}
	m.tensor("cls_token", 1, 0, 1, d.TokenDim)
	m.linear("encoder.0", d.EmSize, d.TokenDim, 4)
	m.norm("encoder.1", d.EmSize)
	for i := range d.NLayers {
		prefix := fmt.Sprintf("transformer_encoder.layers.%d.", i)
		m.linear(prefix+"qkv_proj", 3*d.EmSize, d.EmSize, 1)
		m.linear(prefix+"out_proj", d.EmSize, d.EmSize, 1)
		m.linear(prefix+"linear1", d.DHid, d.EmSize, 1)
		m.linear(prefix+"linear2", d.EmSize, d.DHid, 1)
		m.norm(prefix+"norm1", d.EmSize)
		m.norm(prefix+"norm2", d.EmSize)
	}
	m.skip("decoder.0", d.EmSize)
	m.linear("decoder.1", d.OutputDim, d.EmSize, 1)
	decoderWidth := d.OutputDim + d.EmSize + 1
	if encoding == "soft-bins" {
		m.tensor("bin_encoder.weight", 1, 0, 10, d.EmSize)
		m.linear("count_encoder.0", 512, 1, 2)
		m.linear("count_encoder.2", 10, 512, 4)
	}
	if dataset {
		m.tensor("dataset_token", 1, 0, 1, d.TokenDim)
		m.linear("dataset_embedder", 10, d.OutputDim, 1)
		decoderWidth += 10
	}
	m.skip("binary_decoder.0", decoderWidth)
	m.skip("binary_decoder.1", decoderWidth)
	m.linear("binary_decoder.2", 1, decoderWidth, 1)
	for i := range d.NGenes {
		m.Genes = append(m.Genes, fmt.Sprintf("GENE%d", i))
		m.Table = append(m.Table, m.draw(3, 0, d.TokenDim))
	}
	return m
}

// draw makes n normal values of a spread around a mean.
func (m *Model) draw(spread, mean float64, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(mean + spread*m.random.NormFloat64())
	}
	return values
}

func (m *Model) tensor(name string, spread, mean float64, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	m.Tensors[name] = Float32(m.draw(spread, mean, n), shape...)
}

func (m *Model) linear(name string, out, in int, gain float64) {
	m.tensor(name+".weight", gain/math.Sqrt(float64(in)), 0, out, in)
	m.tensor(name+".bias", 0.1, 0, out)
}

func (m *Model) norm(name string, width int) {
	m.tensor(name+".weight", 0.2, 1, width)
	m.tensor(name+".bias", 0.1, 0, width)
}

func (m *Model) skip(name string, width int) {
	m.linear(name+".intermediate_dense", 2*width, width, 1)
	m.linear(name+".dense", width, 2*width, 1)
	m.norm(name+".layer_norm", width)
}

// Config is the configuration in the reference's keys.
func (m *Model) Config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "model:\n  emsize: %d\n  d_hid: %d\n  nhead: %d\n  nlayers: %d\n  output_dim: %d\n",
		m.EmSize, m.DHid, m.NHead, m.NLayers, m.OutputDim)
	fmt.Fprintf(&b, "  counts: %v\n  rda: true\n  dataset_correction: %v\n", m.Encoding == "soft-bins", m.Dataset)
	if m.Encoding == "scale" {
		b.WriteString("  expression_encoding: scale\n")
	}
	fmt.Fprintf(&b, "tokenizer:\n  token_dim: %d\ndataset:\n  pad_length: %d\n  cls_token_idx: 3\n", m.TokenDim, m.PadLength)
	return b.String()
}

// GeneTable is the gene table as torch.save takes it.
func (m *Model) GeneTable() Dict {
	table := make(Dict, len(m.Genes))
	for i, gene := range m.Genes {
		table[i] = Entry{gene, Float32(m.Table[i], m.TokenDim)}
	}
	return table
}

// WriteFolder writes model.safetensors, config.yaml and protein_embeddings.pt.
func (m *Model) WriteFolder(dir string) error {
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "model.safetensors"), Safetensors(m.Tensors), 0o644),
		os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(m.Config()), 0o644),
		os.WriteFile(filepath.Join(dir, "protein_embeddings.pt"), Torch(m.GeneTable()), 0o644),
	)
}

// Lightning is the model as a Lightning checkpoint has it, for torch.save:
// configuration and gene table inside.
func (m *Model) Lightning() Dict {
	var state Dict
	for _, name := range slices.Sorted(maps.Keys(m.Tensors)) {
		state = append(state, Entry{name, m.Tensors[name]})
	}
	return DictOf(
		"epoch", 1,
		"state_dict", state,
		"hyper_parameters", DictOf("nhead", m.NHead, "d_model", m.EmSize, "dropout", 0.1),
		"cfg_yaml", m.Config(),
		"protein_embeds_dict", m.GeneTable(),
	)
}

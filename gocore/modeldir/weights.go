package modeldir

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// Weight is the place of a tensor in one of a directory's files.
type Weight struct {
	File    string  `json:"file"`
	Element Element `json:"element"`
	Shape   []int   `json:"shape"`
	Offset  int64   `json:"offset"`
}

// Size is how many bytes the tensor has; -1 for more than there can be.
func (w Weight) Size() int64 {
	size := w.Element.size()
	for _, n := range w.Shape {
		if n < 0 || n > 0 && size > math.MaxInt64/int64(n) {
			return -1
		}
		size *= int64(n)
	}
	return size
}

// Weights are tensors of the graphs by name. Linear weights are stored as [in,
// out], ready for MatMul, queries, keys and values apart.
type Weights map[string]Weight

// Index is the content of weights.json and of its like for other element types.
type Index struct {
	// Checksum is the model's, for weights that are made from others.
	Checksum string `json:"checksum,omitempty"`
	// Files that were written with the index, rather than with config.json.
	Files   map[string]FileInfo `json:"files,omitempty"`
	Weights Weights             `json:"weights"`
}

// ReadIndex reads where a model's weights in an element type lie, and checks
// that the files are there with their sizes. Errors wrap [ErrNotAModel].
func ReadIndex(dir string, e Element, config *Config) (Weights, error) {
	fail := func(err error) (Weights, error) {
		return nil, fmt.Errorf("model directory %q: %w: %w", dir, err, ErrNotAModel)
	}
	text, err := os.ReadFile(filepath.Join(dir, e.IndexFile()))
	if err != nil {
		return fail(err)
	}
	if written, listed := config.Files[e.IndexFile()]; listed && describe(text) != written {
		return fail(fmt.Errorf("%s was changed after the conversion: convert the checkpoint again", e.IndexFile()))
	}
	var index Index
	if err := json.Unmarshal(text, &index); err != nil {
		return fail(fmt.Errorf("%s: %w", e.IndexFile(), err))
	}
	if index.Checksum != "" && index.Checksum != config.Checksum {
		return fail(fmt.Errorf("%s belongs to another model", e.IndexFile()))
	}
	if err := checkFiles(dir, index.Files, e.IndexFile()); err != nil {
		return fail(err)
	}
	return index.Weights, nil
}

// WriteIndex writes an index.
func WriteIndex(dir string, e Element, index Index) error {
	text, err := json.Marshal(index)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, e.IndexFile()), text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("model directory %q: %w", dir, err)
	}
	return nil
}

// Read reads a tensor of float32 whole.
func (w Weight) Read(dir string) ([]float32, error) {
	fail := func(err error) ([]float32, error) {
		return nil, fmt.Errorf("model directory %q: %s: %w: %w", dir, w.File, err, ErrNotAModel)
	}
	file, err := os.Open(filepath.Join(dir, w.File))
	if err != nil {
		return fail(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fail(err)
	}
	if size := w.Size(); w.Element != Float32 || w.Offset < 0 || size < 0 || size > info.Size() || w.Offset > info.Size()-size {
		return fail(fmt.Errorf("no tensor of %s and shape %v is at byte %d of %d", w.Element, w.Shape, w.Offset, info.Size()))
	}
	content := make([]byte, w.Size())
	if _, err := file.ReadAt(content, w.Offset); err != nil {
		return fail(err)
	}
	values := make([]float32, len(content)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(content[4*i:]))
	}
	return values, nil
}

// Names of tensors that are not a checkpoint's own, or have a part of one.
const (
	// FoldedTable has the tokens of all genes, [CLS] and the dataset token.
	FoldedTable = "folded"
	// GeneTable is the checkpoint's gene table.
	GeneTable = "gene_table"
	// Queries, Keys and Values are parts of a layer's qkv_proj, after its prefix.
	Queries = "q"
	Keys    = "k"
	Values  = "v"
	// GenePart and CellPart are the rows of the expression decoder's first Linear
	// for the gene and for the cell, after its name.
	GenePart = ".gene"
	CellPart = ".cell"
	// The expression decoder's layers.
	DecoderBlock1 = "binary_decoder.0"
	DecoderBlock2 = "binary_decoder.1"
	DecoderOutput = "binary_decoder.2"
)

// LayerPrefix begins the names of a layer's tensors, counted from 0.
func LayerPrefix(layer int) string { return fmt.Sprintf("transformer_encoder.layers.%d.", layer) }

// LayerProducts are the weights that a layer multiplies tokens with.
func LayerProducts(layer int) []string {
	prefix := LayerPrefix(layer)
	return []string{
		prefix + Queries, prefix + Keys, prefix + Values,
		prefix + "out_proj.weight", prefix + "linear1.weight", prefix + "linear2.weight",
	}
}

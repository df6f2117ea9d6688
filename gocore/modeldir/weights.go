package modeldir

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
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
	text, err := readText(dir, e.IndexFile())
	if err != nil {
		return nil, err
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
	if err := index.Weights.check(dir, e); err != nil {
		return fail(fmt.Errorf("%s: %w", e.IndexFile(), err))
	}
	return index.Weights, nil
}

// check makes sure that each tensor lies in a file of the directory, in an element
// type that this index has: ONNX Runtime is given the places as they are.
func (all Weights) check(dir string, e Element) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	sizes := map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(all)) { // the same mistake is named each time
		w := all[name]
		size, known := sizes[w.File]
		if !known {
			if size, err = sizeOf(root, w.File); err != nil {
				return fmt.Errorf("tensor %q: %w", name, err)
			}
			sizes[w.File] = size
		}
		if err := w.check(size, e, Float32); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	return nil
}

// check makes sure that a tensor of one of these types lies within a file of a size.
func (w Weight) check(fileSize int64, types ...Element) error {
	if size := w.Size(); !slices.Contains(types, w.Element) || w.Offset < 0 || size < 0 || size > fileSize || w.Offset > fileSize-size {
		return fmt.Errorf("no tensor of %s and shape %v is at byte %d of %d of %s", w.Element, w.Shape, w.Offset, fileSize, w.File)
	}
	return nil
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
		return nil, fmt.Errorf("model directory %q: %w: %w", dir, err, ErrNotAModel)
	}
	file, size, err := OpenFile(dir, w.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := w.check(size, Float32); err != nil {
		return fail(err)
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

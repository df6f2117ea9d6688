// Package modeldir is the format of a converted model directory:
//
//	config.json          what the model is and where it came from ([Config])
//	genes.txt            the vocabulary, one gene symbol a line, in token order
//	weights.bin          weights of the embedding graphs, ONNX external data
//	int8.bin             the layers' weights once more, in 8 bits, with a scale a channel
//	source.bin           weights of the trace graph alone: the gene table as it was
//	gene_embeddings.bin  float32 [n_genes, emsize], little-endian, row-major: the
//	                     projection of each gene's row as it was, not normalised
//	                     and without the factor sqrt(emsize)
//	decoder.bin          weights of the decoder graph
//	dense.onnx           sentences of one length, every token once
//	weighted.onnx        a multiplicity per token; 0 is padding
//	contextual.onnx      weighted, with the last layer's vector of every slot
//	trace.onnx           nothing folded or left out: every stage, every token
//	decoder.onnx         gene embeddings [G, emsize] and cells [C, decoder inputs]
//	                     to predicted log1p expression [C, G]
//	*_int8.onnx          dense, weighted and contextual once more, over int8.bin
//	*_openvino.onnx      dense, weighted and contextual once more, for the OpenVINO
//	                     execution provider
//	licence/             licence, notice and model card of the source
//
// The decoder's two files are there only if the checkpoint has a decoder.
//
// config.json is written last and the directory is renamed into place, so a
// directory that has one is whole.
package modeldir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FormatVersion counts changes that older readers can't read.
const FormatVersion = 3

// The files of a directory.
const (
	ConfigFile  = "config.json"
	GenesFile   = "genes.txt"
	WeightsFile = "weights.bin"
	SourceFile  = "source.bin"
	Int8File    = "int8.bin"
	// GeneEmbeddingsFile is read without ONNX Runtime.
	GeneEmbeddingsFile = "gene_embeddings.bin"
	DecoderWeightsFile = "decoder.bin"
	LicenceDir         = "licence"
)

var (
	// ErrNotAModel: a directory is no converted model.
	ErrNotAModel = errors.New("not a converted model")
	// ErrFormat: a converted model is of a format that is not read.
	ErrFormat = errors.New("unsupported format of a converted model")
)

// Variant is one of the graphs over the same weights.
type Variant string

// The graph variants.
const (
	Dense      Variant = "dense"
	Weighted   Variant = "weighted"
	Contextual Variant = "contextual"
	Trace      Variant = "trace"
	Decoder    Variant = "decoder"
)

const (
	int8Suffix     = "_int8"
	openVINOSuffix = "_openvino"
)

// hasTwins tells which variants have twins: those with transformer layers but
// the trace.
func (v Variant) hasTwins() bool { return v == Dense || v == Weighted || v == Contextual }

// Int8 is the variant's twin whose layers multiply in 8 bits; the trace and the
// decoder have none and are their own.
func (v Variant) Int8() Variant {
	if v.hasTwins() {
		return v + int8Suffix
	}
	return v
}

// IsInt8 tells whether the variant's layers multiply in 8 bits.
func (v Variant) IsInt8() bool { return strings.HasSuffix(string(v), int8Suffix) }

// OpenVINO is the variant's twin for the OpenVINO execution provider, which
// lacks ONNX Runtime's fused operators: made of standard ones, in parts between
// which a run can end early (see [Dimensions.LayersPerPart]). The trace and the
// decoder are made of standard operators anyway and are their own.
func (v Variant) OpenVINO() Variant {
	if v.hasTwins() {
		return v + openVINOSuffix
	}
	return v
}

// IsOpenVINO tells whether the variant is such a twin.
func (v Variant) IsOpenVINO() bool { return strings.HasSuffix(string(v), openVINOSuffix) }

// Base is the variant that v is, or is the twin of.
func (v Variant) Base() Variant {
	return Variant(strings.TrimSuffix(strings.TrimSuffix(string(v), int8Suffix), openVINOSuffix))
}

// File is the variant's file name.
func (v Variant) File() string { return string(v) + ".onnx" }

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

// LayerFLOP is how many operations a token takes in one layer, in a sentence of
// some length.
func (d Dimensions) LayerFLOP(length int) float64 {
	return float64(2*d.EmSize*(4*d.EmSize+2*d.DHid)) + float64(4*length*d.EmSize)
}

// partFLOP is how many operations a sentence of full length takes at most in
// one part of an OpenVINO twin, which runs without a pause: under a second at
// the 350 GFLOP/s that two cores with bf16 reach. Every part has buffers of its
// own, about 100 MB at SE-600M's width, so parts are no smaller than that.
const partFLOP = 3e11

// LayersPerPart is how many layers make a part of an OpenVINO twin.
func (d Dimensions) LayersPerPart() int {
	return max(1, int(partFLOP/(d.LayerFLOP(d.PadLength)*float64(d.PadLength))))
}

// DecoderInputs are what the expression decoder takes besides a gene embedding
// and a cell's embedding, in this order.
type DecoderInputs struct {
	ReadDepth  bool `json:"read_depth"`
	DatasetDim int  `json:"dataset_dim"` // 0: no dataset embedding
}

// FileInfo is a file's size and SHA-256.
type FileInfo struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Config is the content of config.json.
type Config struct {
	FormatVersion      int                 `json:"format_version"`
	Name               string              `json:"name"`
	Dimensions         Dimensions          `json:"dimensions"`
	ExpressionEncoding string              `json:"expression_encoding"`
	Decoder            *DecoderInputs      `json:"decoder,omitempty"` // nil: the model has none
	Precision          string              `json:"precision"`
	Files              map[string]FileInfo `json:"files"`
	Source             Source              `json:"source"`
	Notes              []string            `json:"notes,omitempty"`
}

// Source says what a model was converted from.
type Source struct {
	Name string `json:"name"`
	// Checkpoint is the file with the weights, by its base name.
	Checkpoint string            `json:"checkpoint"`
	SHA256     map[string]string `json:"sha256"`
	Writer     string            `json:"writer"`
	Licences   []string          `json:"licences,omitempty"`
}

// Read reads the config and the vocabulary of a directory, and checks that
// every file is there with its size. Errors wrap [ErrNotAModel] or [ErrFormat].
func Read(dir string) (*Config, []string, error) {
	fail := func(cause error) (*Config, []string, error) {
		return nil, nil, fmt.Errorf("model directory %q: %w: %w", dir, cause, ErrNotAModel)
	}
	text, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		return fail(err)
	}
	var version struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return fail(fmt.Errorf("%s: %w", ConfigFile, err))
	}
	switch {
	case version.FormatVersion == 0:
		return fail(fmt.Errorf("%s has no format_version", ConfigFile))
	case version.FormatVersion > FormatVersion:
		return nil, nil, fmt.Errorf("model directory %q: format %d is newer than this package reads (%d): "+
			"upgrade se600m-go, or convert the checkpoint again: %w", dir, version.FormatVersion, FormatVersion, ErrFormat)
	case version.FormatVersion < FormatVersion:
		return nil, nil, fmt.Errorf("model directory %q: format %d is older than this package reads (%d): "+
			"convert the checkpoint again: %w", dir, version.FormatVersion, FormatVersion, ErrFormat)
	}
	config := &Config{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(config); err != nil {
		return fail(fmt.Errorf("%s: %w", ConfigFile, err))
	}
	for name, want := range config.Files {
		if !filepath.IsLocal(name) {
			return fail(fmt.Errorf("%s names the file %q outside the directory", ConfigFile, name))
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return fail(err)
		}
		if info.Size() != want.Size {
			return fail(fmt.Errorf("%s has %d bytes, %d were written: convert the checkpoint again", name, info.Size(), want.Size))
		}
	}
	list, err := os.ReadFile(filepath.Join(dir, GenesFile))
	if err != nil {
		return fail(err)
	}
	genes := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	if len(genes) != config.Dimensions.NGenes {
		return fail(fmt.Errorf("%s has %d genes, %s says %d", GenesFile, len(genes), ConfigFile, config.Dimensions.NGenes))
	}
	return config, genes, nil
}

// Write writes the config, as the last file of a directory.
func Write(dir string, config *Config) error {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fmt.Errorf("model directory %q: %w", dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("model directory %q: %w", dir, err)
	}
	return nil
}

// Describe measures a small file.
func Describe(path string) (FileInfo, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return FileInfo{}, fmt.Errorf("model directory: %w", err)
	}
	sum := sha256.Sum256(content)
	return FileInfo{Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}, nil
}

// Checksum is the SHA-256 over the checksums of all files: it names a model.
func (c *Config) Checksum() string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		_, _ = fmt.Fprintf(sum, "%s %s\n", c.Files[name].SHA256, name) // a hash takes everything
	}
	return hex.EncodeToString(sum.Sum(nil))
}

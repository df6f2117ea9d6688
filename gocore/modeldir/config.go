package modeldir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/se600m/se600m-go/gocore/internal/words"
)

// FormatVersion counts changes that older readers can't read. A new form or a
// better graph is none: graphs are not in the directory.
const FormatVersion = 4

// Writer and WriterVersion are the producer that models name.
const (
	Writer        = "se600m-go"
	WriterVersion = "1"
)

// The files of a directory.
const (
	ConfigFile  = "config.json"
	GenesFile   = "genes.txt"
	WeightsFile = "weights.bin"
	SourceFile  = "source.bin"
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

// FileInfo is a file's size and SHA-256.
type FileInfo struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Config is the content of config.json.
type Config struct {
	FormatVersion int    `json:"format_version"`
	Name          string `json:"name"`
	// Checksum names the model: see [Config.Identity].
	Checksum           string              `json:"checksum"`
	Dimensions         Dimensions          `json:"dimensions"`
	ExpressionEncoding Encoding            `json:"expression_encoding"`
	Decoder            *DecoderInputs      `json:"decoder,omitempty"` // nil: the model has none
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
// every file is there with its size, and that the vocabulary is the one that was
// written. Errors wrap [ErrNotAModel] or [ErrFormat].
func Read(dir string) (*Config, []string, error) {
	fail := func(cause error) (*Config, []string, error) {
		return nil, nil, fmt.Errorf("model directory %q: %w: %w", dir, cause, ErrNotAModel)
	}
	text, err := readText(dir, ConfigFile)
	if err != nil {
		return nil, nil, err
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
		return nil, nil, fmt.Errorf("model directory %q: format %d is newer than this package supports (%d): "+
			"upgrade se600m-go, or convert the checkpoint again: %w", dir, version.FormatVersion, FormatVersion, ErrFormat)
	case version.FormatVersion < FormatVersion:
		return nil, nil, fmt.Errorf("model directory %q: format %d is older than this package supports (%d): "+
			"convert the checkpoint again: %w", dir, version.FormatVersion, FormatVersion, ErrFormat)
	}
	config := &Config{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(config); err != nil {
		return fail(fmt.Errorf("%s: %w", ConfigFile, err))
	}
	if err := config.check(); err != nil {
		return fail(fmt.Errorf("%s: %w", ConfigFile, err))
	}
	if err := checkFiles(dir, config.Files, ConfigFile); err != nil {
		return fail(err)
	}
	list, err := readText(dir, GenesFile)
	if err != nil {
		return nil, nil, err
	}
	if written, listed := config.Files[GenesFile]; listed && describe(list) != written {
		return fail(fmt.Errorf("%s was changed after the conversion: convert the checkpoint again", GenesFile))
	}
	genes := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	if len(genes) != config.Dimensions.NGenes {
		return fail(fmt.Errorf("%s has %s, but %s has %s", GenesFile, words.Many(len(genes), "gene"), ConfigFile, words.Thousands(config.Dimensions.NGenes)))
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
	return describe(content), nil
}

func describe(content []byte) FileInfo {
	sum := sha256.Sum256(content)
	return FileInfo{Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

package pybind

import (
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// version is the package's; the build sets it.
var version = "unknown"

var models = handles[*embed.Model]{what: "model"}

// Version is the version of the native core.
func Version() string { return version }

// FormatVersion is the format of the model directories that this core writes
// and reads.
func FormatVersion() int64 { return modeldir.FormatVersion }

// Fail panics: tests make sure with it that a panic reaches Python as an error.
func Fail() (unused int64, err error) {
	defer export(&err)
	panic("a deliberate panic")
}

// OpenRuntime loads ONNX Runtime's shared library and tells its version.
func OpenRuntime(path string) (ortVersion string, err error) {
	defer export(&err)
	err = ort.Open(path)
	return ort.Version(), err
}

// RuntimeLibrary is the path of the library that [OpenRuntime] has loaded, or "".
func RuntimeLibrary() string { return ort.Library() }

// CheckDevice tells the names of a device that is there and of its precision,
// {"device": …, "precision": …}, and for one that is not what it lacks.
func CheckDevice(device, precision string) (resolved string, err error) {
	defer export(&err)
	p, err := ort.ResolveDevice(device, precision)
	if err != nil {
		return "", err
	}
	return toJSON(map[string]any{"device": p.Name(), "precision": p.Precision()})
}

// OpenModel opens a converted model directory on a device, in a precision.
func OpenModel(dir, device, precision string) (handle int64, err error) {
	defer export(&err)
	m, err := embed.Open(dir, device, precision)
	if err != nil {
		return 0, err
	}
	return models.add(m), nil
}

// CloseModel frees a model, once nothing uses it any more.
func CloseModel(handle int64) (unused int64, err error) {
	defer export(&err)
	m, err := models.take(handle)
	if err != nil {
		return 0, err
	}
	return 0, m.Close()
}

// DescribeModel tells what a model is: its config, device, checksum and stages.
func DescribeModel(handle int64) (description string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	type stage struct {
		Name        string `json:"name"`
		WithDataset bool   `json:"with_dataset"`
		Width       int    `json:"width"`
	}
	var stages []stage
	for _, s := range m.Config.Stages() { // [batch, slots or tokens, width]
		stages = append(stages, stage{s.Name, s.Shape[1] == modeldir.WithDataset, s.Shape[2].Size})
	}
	return toJSON(map[string]any{
		"config": m.Config, "device": m.Device(), "precision": m.Precision(), "checksum": m.Config.Checksum, "stages": stages,
		"runtime": ort.Version(), "library": ort.Library(),
	})
}

// ModelGenes are a model's gene symbols in token order, a line each.
func ModelGenes(handle int64) (genes string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	return strings.Join(m.Vocabulary.Genes(), "\n"), nil
}

// matchRequest are the columns that may name a data set's genes, and memory for
// their tokens, -1 for genes that the model lacks.
type matchRequest struct {
	Columns []string `json:"columns"`
	// Names are the genes of one column after another, a line each (uint8): a
	// JSON string for each would take longer than finding it.
	Names array `json:"names"`
	// Minimum is the least coverage.
	Minimum float64 `json:"minimum"`
	Tokens  array   `json:"tokens"`
}

// MatchGenes finds a data set's genes in a model's vocabulary, by the column
// that has the most of them, and reports the coverage.
func MatchGenes(handle int64, requestJSON string) (report string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	var request matchRequest
	if err := fromJSON(requestJSON, &request); err != nil {
		return "", err
	}
	tokens, err := typed[int32](request.Tokens, "int32")
	if err != nil {
		return "", err
	}
	names, err := typed[uint8](request.Names, "uint8")
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(names), "\n")
	if len(request.Columns) == 0 || len(lines) != len(request.Columns)*len(tokens) {
		return "", fmt.Errorf("pybind: %d names for %d genes in %d columns: %w",
			len(lines), len(tokens), len(request.Columns), errMemory)
	}
	columns := make([]vocabulary.Column, len(request.Columns))
	for i, name := range request.Columns {
		columns[i] = vocabulary.Column{Name: name, Genes: lines[i*len(tokens) : (i+1)*len(tokens)]}
	}
	match := m.Vocabulary.MatchBest(columns)
	if err := match.Require(request.Minimum); err != nil {
		return "", err
	}
	copy(tokens, match.Tokens)
	return toJSON(map[string]any{
		"column": match.Column, "n_genes": len(match.Tokens), "n_matched": match.NMatched, "n_by_id": match.NByID,
		"n_repeated": match.NRepeated, "repeated": match.Repeated, "n_unnamed": match.NUnnamed,
		"n_close": match.NClose, "close": match.Close, "n_vocabulary": m.Vocabulary.NGenes(), "missing": match.Missing,
	})
}

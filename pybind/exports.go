package pybind

import (
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/runtime"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// version is the package's; the build sets it.
var version = "unknown"

var models = handles[*embed.Model]{what: "model"}

// Version is the version of the native core.
func Version() string { return version }

// Fail panics: tests make sure with it that a panic reaches Python as an error.
func Fail() (unused int64, err error) {
	defer export(&err)
	panic("a deliberate panic")
}

// OpenRuntime loads ONNX Runtime's shared library and tells its version.
func OpenRuntime(path string) (ortVersion string, err error) {
	defer export(&err)
	err = runtime.Open(path)
	return runtime.Version(), err
}

// RuntimeLibrary is the path of the library that [OpenRuntime] has loaded, or "".
func RuntimeLibrary() string { return runtime.Library() }

// CheckDevice tells the names of a device that is there and of its precision,
// {"device": …, "precision": …}, and for one that is not what it lacks.
func CheckDevice(device, precision string) (resolved string, err error) {
	defer export(&err)
	p, err := runtime.ResolveDevice(device, precision)
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
	for _, s := range m.Stages() {
		stages = append(stages, stage(s))
	}
	return toJSON(map[string]any{
		"config": m.Config, "device": m.Device(), "precision": m.Precision(), "checksum": m.Config.Checksum(), "stages": stages,
		"runtime": runtime.Version(), "library": runtime.Library(),
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

// MatchGenes finds a data set's genes in a model's vocabulary, by the one of
// several JSON columns of names, [{"name": …, "genes": […]}], that has the most
// of them. It writes their tokens (int32, -1 for unknown ones) to memory for as
// many as the columns are long, and reports the coverage. It fails below a
// minimum coverage.
func MatchGenes(handle int64, columnsJSON string, minimum float64, tokens uintptr) (report string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	var columns []vocabulary.Column
	if err := fromJSON(columnsJSON, &columns); err != nil {
		return "", err
	}
	if len(columns) == 0 {
		return "", fmt.Errorf("pybind: no columns: %w", errMemory)
	}
	for _, c := range columns {
		if len(c.Genes) != len(columns[0].Genes) {
			return "", fmt.Errorf("pybind: columns of %d and %d names: %w", len(columns[0].Genes), len(c.Genes), errMemory)
		}
	}
	match := m.Vocabulary.MatchBest(columns)
	if err := match.Require(minimum); err != nil {
		return "", err
	}
	out, err := slice[int32](array{Address: uint64(tokens), Length: len(match.Tokens)})
	if err != nil {
		return "", err
	}
	copy(out, match.Tokens)
	return toJSON(map[string]any{
		"column": match.Column, "n_genes": len(match.Tokens), "n_matched": match.NMatched, "n_by_id": match.NByID,
		"n_repeated": match.NRepeated, "repeated": match.Repeated, "n_unnamed": match.NUnnamed,
		"n_close": match.NClose, "close": match.Close, "n_vocabulary": m.Vocabulary.NGenes(), "missing": match.Missing,
	})
}

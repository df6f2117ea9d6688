package pybind

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/graph"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/neighbors"
	"github.com/se600m/se600m-go/gocore/nvidia"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

var (
	errHandle      = errors.New("unknown handle")
	errMemory      = errors.New("invalid memory")
	errRequest     = errors.New("invalid request")
	errReport      = errors.New("invalid report")
	errDestination = errors.New("can't be written")
)

// codes gives every sentinel error its code. The first match counts, so what
// wraps another sentinel comes before it.
var codes = []struct {
	sentinel error
	code     string
}{
	{context.Canceled, "canceled"},
	{safego.ErrPanic, "internal"}, // whatever it was wrapped in
	{expression.ErrNotFinite, "not-finite"},
	{expression.ErrShape, "matrix"},
	{expression.ErrIndex, "matrix"},
	{expression.ErrScale, "option"},
	{vocabulary.ErrCoverage, "gene-coverage"},
	{vocabulary.ErrVocabulary, "model"},
	{sentence.ErrFill, "option"},
	{sentence.ErrTooFewGenes, "too-few-genes"},
	{batch.ErrSize, "option"},
	{embed.ErrOption, "option"},
	{embed.ErrClosed, "closed"},
	{embed.ErrLacks, "not-in-model"},
	{embed.ErrOverflow, "overflow"},
	{checkpoint.ErrNotFound, "checkpoint-not-found"},
	{checkpoint.ErrUnsafePickle, "unsafe-pickle"},
	{checkpoint.ErrUnsupported, "checkpoint"},
	{checkpoint.ErrMalformed, "checkpoint"},
	{checkpoint.ErrConfig, "checkpoint"},
	{checkpoint.ErrGeneTable, "checkpoint"},
	{convert.ErrTensors, "checkpoint"},
	{convert.ErrExists, "exists"},
	{modeldir.ErrNotAModel, "model"},
	{graph.ErrLayers, "model"},
	{modeldir.ErrFormat, "model"},
	{nvidia.ErrDriver, "device"},
	{nvidia.ErrLibrary, "runtime"},
	{ort.ErrPrecision, "option"},
	{ort.ErrDevice, "device"},
	{ort.ErrLibrary, "runtime"},
	{ort.ErrSession, "runtime"},
	{ort.ErrMemory, "memory"},
	{ort.ErrRun, "runtime"},
	{neighbors.ErrNotFinite, "not-finite"},
	{neighbors.ErrShape, "matrix"},
	{neighbors.ErrOption, "option"},
	{errDestination, "destination"},
	{errHandle, "closed"},
	{errMemory, "internal"},
	{errRequest, "internal"},
	{errReport, "internal"},
}

// packages are the names that begin the texts of gocore's errors, as is usual in
// Go. Users of Python don't know these packages.
var packages = []string{
	"batch", "checkpoint", "convert", "embed", "expression", "graph", "modeldir", "neighbors", "nvidia", "onnx", "ort", "pybind",
	"safego", "sentence", "vocabulary",
}

// withoutPackages cuts the names of Go packages off the front of a text.
func withoutPackages(text string) string {
	for {
		name, rest, has := strings.Cut(text, ": ")
		if !has || !slices.Contains(packages, name) {
			return text
		}
		text = rest
	}
}

// encode makes the text of an error that crosses the border. In the text of an
// internal error the names of packages stay: they belong into a report.
func encode(err error) error {
	if err == nil {
		return nil
	}
	text := map[string]any{"code": "other", "message": err.Error()}
	for _, c := range codes {
		if errors.Is(err, c.sentinel) {
			text["code"] = c.code
			// The class says what the sentinel says at the end of the text.
			text["message"] = strings.TrimSuffix(err.Error(), ": "+c.sentinel.Error())
			break
		}
	}
	if code := text["code"]; code != "internal" && code != "other" {
		text["message"] = withoutPackages(text["message"].(string))
	}
	if at := (*expression.NotFiniteError)(nil); errors.As(err, &at) {
		text["cell"], text["gene"] = at.Cell, at.Gene
	}
	if at := (*neighbors.NotFiniteError)(nil); errors.As(err, &at) {
		text["cell"], text["in_reference"] = at.Row, at.Reference
	}
	encoded, _ := json.Marshal(text) // a map of strings and ints can be encoded
	return errors.New(string(encoded))
}

// export ends every exported function: it turns a panic into an error, and an
// error into its text. Use: defer export(&err).
func export(err *error) {
	if p := recover(); p != nil {
		*err = safego.Panicked(p)
	}
	*err = encode(*err)
}

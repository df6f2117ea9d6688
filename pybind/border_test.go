package pybind

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// finish ends a job that must succeed and reads its report.
func finish(t *testing.T, kind string, request map[string]any, report any) {
	t.Helper()
	text, err := finished(t, kind, request)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if report != nil {
		if err := json.Unmarshal([]byte(text), report); err != nil {
			t.Fatalf("%s: %q: %v", kind, text, err)
		}
	}
}

func finished(t *testing.T, kind string, request map[string]any) (string, error) {
	t.Helper()
	text, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	job, err := Start(kind, string(text))
	if err != nil {
		return "", err
	}
	return Finish(job)
}

// openDefault converts the model in the package and opens it, all as Python does.
func openDefault(t *testing.T) (model int64) {
	t.Helper()
	library := os.Getenv("SE600M_ORT_LIBRARY")
	if library == "" {
		t.Skip("needs ONNX Runtime: SE600M_ORT_LIBRARY names no library (make test-go sets it)")
	}
	if version, err := OpenRuntime(fmt.Sprintf(`{"path": %q, "libraries": []}`, library)); err != nil || version == "" {
		t.Fatalf("%q, %v", version, err)
	}
	found, err := filepath.Glob("../python/se600m/models/*/config.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("no model in the package: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "converted")
	finish(t, "convert", map[string]any{
		"source": filepath.Dir(found[0]), "destination": dir, "name": "default",
		"checkpoint": "", "config": "", "protein_embeddings": "", "overwrite": false,
	}, nil)
	model, err = OpenModel(dir, "cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = CloseModel(model) })
	return model
}

// described is what DescribeModel tells, as far as it is asked here.
type described struct {
	Config struct {
		Name       string
		Dimensions map[string]int
	}
	Device, Precision, Checksum string
	Stages                      []struct {
		Name        string
		WithDataset bool `json:"with_dataset"`
		Width       int
	}
}

func describeModel(t *testing.T, model int64) (d described) {
	t.Helper()
	text, err := DescribeModel(model)
	if err == nil {
		err = json.Unmarshal([]byte(text), &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFromCheckpointToEmbedding(t *testing.T) {
	model := openDefault(t)
	about := describeModel(t, model)
	if about.Config.Name != "default" || about.Device != "cpu" || about.Precision != "fp32" || about.Checksum == "" || len(about.Stages) < 5 {
		t.Errorf("%+v", about)
	}
	dims := about.Config.Dimensions

	list, err := ModelGenes(model)
	if err != nil {
		t.Fatal(err)
	}
	genes := strings.Split(list, "\n")
	if len(genes) != dims["n_genes"] {
		t.Fatalf("%d genes, %d in the config", len(genes), dims["n_genes"])
	}
	// A panel of 40 genes, one of them unknown.
	panel := slices.Clone(genes[:40])
	panel[5] = "no such gene"
	tokenMemory := borrowed(t, "int32", make([]int32, len(panel))...)
	tokens, err := slice[int32](tokenMemory)
	if err != nil {
		t.Fatal(err)
	}
	request := func(tokens array, minimum float64, columns ...string) string {
		text, err := toJSON(map[string]any{
			"columns": slices.Repeat([]string{"var_names"}, len(columns)), "minimum": minimum, "tokens": tokens,
			"targets": slices.Repeat([]string{"adata.var_names"}, len(columns)),
			"names":   borrowed(t, "uint8", []byte(strings.Join(columns, "\n"))...),
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	lines := strings.Join(panel, "\n")
	report, err := MatchGenes(model, request(tokenMemory, 0.5, lines))
	if err != nil || !strings.Contains(report, `"n_matched":39`) || tokens[5] != -1 || tokens[6] != 6 {
		t.Errorf("%s, %v, %v", report, err, tokens)
	}
	for _, wrong := range []struct{ request, code, message string }{
		{request(tokenMemory, 0.99, lines), "gene-coverage", "39 of 40"},
		{request(tokenMemory, 0.5), "internal", "in 0 columns"},
		{request(tokenMemory, 0.5, lines, "A"), "internal", "41 names for 40 genes in 2 columns"},
		{"genes", "internal", "request"},
		{request(array{Length: 40, DType: "int32"}, 0.5, lines), "internal", "null address"},
		{strings.Replace(request(tokenMemory, 0.5, lines), "minimum", "minimun", 1), "internal", `"minimum" is missing, "minimun" is unknown`},
	} {
		_, err := MatchGenes(model, wrong.request)
		refused(t, err, wrong.code, wrong.message)
	}
	find := func(tokens array, names ...string) string {
		text, err := toJSON(map[string]any{
			"tokens": tokens, "names": borrowed(t, "uint8", []byte(strings.Join(names, "\n"))...),
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	three := borrowed(t, "int32", 7, 7, 7)
	found, err := FindGenes(model, find(three, genes[2], "no such gene", genes[1]))
	if got, _ := slice[int32](three); err != nil || !slices.Equal(got, []int32{2, -1, 1}) || !strings.Contains(found, `"first_unknown":1`) {
		t.Errorf("%s, %v, %v", found, err, got)
	}
	if found, err = FindGenes(model, find(three, genes[:3]...)); err != nil || !strings.Contains(found, `"first_unknown":-1`) {
		t.Errorf("%s, %v", found, err)
	}
	for _, wrong := range []struct{ request, message string }{
		{find(three, genes[:2]...), "2 names for 3 genes"},
		{find(array{Length: 3, DType: "int32"}, genes[:3]...), "null address"},
		{"{}", `"names" is missing`},
	} {
		_, err := FindGenes(model, wrong.request)
		refused(t, err, "internal", wrong.message)
	}
	if _, err := FindGenes(12345, find(three, genes[:3]...)); err == nil {
		t.Error("a model that is not there was taken")
	}

	const nCells = 5
	values := make([]float32, nCells*len(panel))
	for i := range values {
		if i%3 == 0 {
			values[i] = float32(i % 17)
		}
	}
	cells := func(more map[string]any) map[string]any {
		request := map[string]any{
			"model": model, "tokens": tokenMemory, "fill": "auto", "seed": 0, "expression": "counts", "first_row": 0, "threads": 1,
			"matrix": denseMatrix{
				Kind: "dense", NCells: nCells, NGenes: len(panel), CellStride: len(panel), GeneStride: 1,
				Data: borrowed(t, "float32", values...),
			},
		}
		for key, value := range more {
			request[key] = value
		}
		return request
	}
	var plan struct {
		Fill      string
		MaxLength int `json:"max_length"`
		NValid    int `json:"n_valid"`
	}
	finish(t, "plan", map[string]any{"model": model, "tokens": tokenMemory, "fill": "auto"}, &plan)
	if plan.Fill != "expected" || plan.NValid != 39 || plan.MaxLength != 40 {
		t.Fatalf("%+v", plan)
	}

	memory := func(n int) (array, []float32) {
		a := borrowed(t, "float32", make([]float32, n)...)
		view, err := slice[float32](a)
		if err != nil {
			t.Fatal(err)
		}
		return a, view
	}
	slots := nCells * plan.MaxLength
	indices := borrowed(t, "int32", make([]int32, slots)...)
	lengths := borrowed(t, "int32", make([]int32, nCells)...)
	expressionValues, _ := memory(slots)
	multiplicity, _ := memory(slots)
	var tokenized, embedded map[string]any
	finish(t, "tokenize", cells(map[string]any{
		"length": plan.MaxLength, "gene_indices": indices, "expression_values": expressionValues,
		"multiplicity": multiplicity, "lengths": lengths,
	}), &tokenized)

	width, datasetWidth := dims["output_dim"], dims["dataset_dim"]
	first, wanted := memory(nCells * width)
	dataset, _ := memory(nCells * datasetWidth)
	embedding := func(more map[string]any) map[string]any {
		request := cells(map[string]any{"embedding": first, "batch_size": 0})
		maps.Copy(request, more)
		return request
	}
	finish(t, "embed", embedding(map[string]any{"dataset_embedding": dataset}), &embedded)
	if fmt.Sprint(tokenized) != fmt.Sprint(embedded) || embedded["n_counts"] != float64(nCells) {
		t.Errorf("reports %v and %v", tokenized, embedded)
	}
	second, got := memory(nCells * width)
	finish(t, "embed_sentences", map[string]any{
		"model": model, "n_cells": nCells, "length": plan.MaxLength, "gene_indices": indices,
		"expression_values": expressionValues, "multiplicity": multiplicity, "embedding": second, "batch_size": 0, "threads": 1,
	}, nil)
	for i := range wanted {
		if d := wanted[i] - got[i]; d > 1e-5 || d < -1e-5 {
			t.Fatalf("value %d: %v from cells, %v from their sentences", i, wanted[i], got[i])
		}
	}
	if slices.Equal(wanted[:width], wanted[width:2*width]) || wanted[0] == 0 {
		t.Error("cells have equal rows, or none")
	}

	_, err = finished(t, "embed", embedding(map[string]any{"batch_size": -1}))
	refused(t, err, "option", "batch_size=-1")
	_, err = finished(t, "embed", embedding(map[string]any{"fill": "magic"}))
	refused(t, err, "option", "magic")
	_, err = finished(t, "embed", embedding(map[string]any{"expression": "magic"}))
	refused(t, err, "option", "magic")
	_, err = finished(t, "embed", embedding(map[string]any{"embedding": expressionValues}))
	refused(t, err, "option", "output")
	_, err = finished(t, "trace", map[string]any{
		"model": model, "n_cells": nCells, "length": plan.MaxLength, "gene_indices": indices,
		"expression_values": expressionValues, "embedding": second, "stages": []array{},
	})
	refused(t, err, "option", "0 stages")

	if _, err := CloseModel(model); err != nil {
		t.Fatal(err)
	}
	_, err = CloseModel(model)
	refused(t, err, "closed", "model")
	_, err = DescribeModel(model)
	refused(t, err, "closed", "model")
	_, err = ModelGenes(model)
	refused(t, err, "closed", "model")
	_, err = finished(t, "embed", embedding(nil))
	refused(t, err, "closed", "model")
}

func TestOpenFails(t *testing.T) {
	_, err := OpenModel(t.TempDir(), "cpu", "auto")
	refused(t, err, "model", "config.json")
	_, err = OpenRuntime(`{"path": "/nowhere.so", "libraries": []}`)
	refused(t, err, "runtime", "nowhere.so")
	if resolved, err := CheckDevice("auto", "auto"); resolved != `{"device":"cpu","precision":"fp32"}` || err != nil {
		t.Errorf("%q, %v", resolved, err)
	}
	_, err = CheckDevice("abacus", "auto")
	refused(t, err, "device", "abacus")
	if Version() == "" {
		t.Error("no version")
	}
}

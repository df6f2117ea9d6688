package pybind

import (
	"fmt"
	"math"
	"testing"
)

func TestASurveyAcrossTheBorder(t *testing.T) {
	model := openDefault(t)
	const nCells, nGenes = 5, 40
	tokens := make([]int32, nGenes)
	values := make([]float64, nCells*nGenes)
	for i := range values {
		values[i] = float64(i % 17)
	}
	for i := range tokens {
		tokens[i] = int32(i)
	}
	request := func(values []float64, more map[string]any) map[string]any {
		r := map[string]any{
			"model": model, "tokens": borrowed(t, "int32", tokens...), "fill": "auto", "expression": "auto", "threads": 2,
			"first_row": 0, "seed": 0,
			"matrix": denseMatrix{
				Kind: "dense", NCells: nCells, NGenes: nGenes, CellStride: nGenes, GeneStride: 1,
				Data: borrowed(t, "float64", values...),
			},
		}
		for key, value := range more {
			r[key] = value
		}
		return r
	}
	width := describeModel(t, model).Config.Dimensions["output_dim"]
	var embedded map[string]any
	finish(t, "embed", request(values, map[string]any{
		"batch_size": 0, "embedding": borrowed(t, "float32", make([]float32, nCells*width)...),
	}), &embedded)

	totals := borrowed(t, "float64", make([]float64, nGenes)...)
	columns := map[string]any{
		"totals": totals, "squares": borrowed(t, "float64", make([]float64, nGenes)...),
		"largest": borrowed(t, "float32", make([]float32, nGenes)...), "not_finite": borrowed(t, "int64", make([]int64, nGenes)...),
	}
	var surveyed struct {
		Report    map[string]any
		NotFinite map[string]any `json:"not_finite"`
	}
	finish(t, "survey", request(values, columns), &surveyed)
	if fmt.Sprint(surveyed.Report) != fmt.Sprint(embedded) || surveyed.NotFinite != nil || embedded["largest"] != 16.0 {
		t.Errorf("%v, %v; want %v", surveyed.Report, surveyed.NotFinite, embedded)
	}
	sums, err := typed[float64](totals, "float64")
	if err != nil || sums[1] != 1+7+13+2+8 {
		t.Errorf("totals %v, %v", sums, err)
	}

	values[2*nGenes+3], values[4*nGenes+1] = math.Inf(-1), math.NaN()
	finish(t, "survey", request(values, nil), &surveyed)
	want := "map[cell:2 gene:3 n_cells:2 n_infinite:1 n_nan:1 n_too_large:0 n_whole_cells:0 patterns:["
	if got := fmt.Sprint(surveyed.NotFinite); len(got) < len(want) || got[:len(want)] != want || surveyed.NotFinite["value"] != "-Inf" {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err = finished(t, "embed", request(values, map[string]any{
		"batch_size": 0, "embedding": borrowed(t, "float32", make([]float32, nCells*width)...),
	}))
	refused(t, err, "not-finite", "cell 2, gene 3: value is -Inf")

	for name, wrong := range map[string]map[string]any{
		"another type":   {"totals": borrowed(t, "float32", make([]float32, nGenes)...)},
		"null address":   {"squares": array{Length: nGenes, DType: "float64"}},
		"largest, typed": {"largest": totals},
		"a closed model": {"model": 1 << 40},
	} {
		if _, err := finished(t, "survey", request(values, wrong)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	_, err = finished(t, "survey", request(values, map[string]any{
		"totals": borrowed(t, "float64", make([]float64, 3)...),
	}))
	refused(t, err, "option", "memory for 3 of 40 columns")
}

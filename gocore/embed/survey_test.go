package embed_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/safego"
)

func columns(n int) embed.Columns {
	return embed.Columns{
		Totals: make([]float64, n), Squares: make([]float64, n), Largest: make([]float32, n), NotFinite: make([]int64, n),
	}
}

func TestASurveyReportsWhatEmbeddingReports(t *testing.T) {
	m, data := open(t, "soft-bins", true), draw(nCells, 30)
	data.data[5] = -4
	data.data[data.indptr[20]] = 0.5
	for _, scale := range []expression.Scale{expression.Auto, expression.Counts, expression.Log1p} {
		embedded := data.cells(t, 0, nCells)
		embedded.Scale, embedded.Share = scale, make([]float32, nCells)
		embedded.Columns = columns(data.nGenes)
		_, want := run(t, m, embedded)
		checkColumns(t, data, embedded.Columns)
		for _, threads := range []int{1, 3, 64} {
			surveyed := data.cells(t, 0, nCells)
			surveyed.Scale, surveyed.Share, surveyed.Threads = scale, make([]float32, nCells), threads
			done := make(chan int, nCells)
			surveyed.Progress = func(n int) { done <- n }
			seen := columns(data.nGenes)
			surveyed.Columns = seen
			got, missing, err := m.Survey(t.Context(), surveyed)
			if err != nil || got != want || !reflect.DeepEqual(missing, embed.NotFinite{}) {
				t.Fatalf("%v, %d threads: %+v, %+v, %v; want %+v", scale, threads, got, missing, err, want)
			}
			if !slices.Equal(surveyed.Share, embedded.Share) {
				t.Errorf("%v, %d threads: shares differ", scale, threads)
			}
			close(done)
			total := 0
			for n := range done {
				total += n
			}
			if total != nCells {
				t.Errorf("progress of %d cells, want %d", total, nCells)
			}
			checkColumns(t, data, seen)
		}
	}
}

// checkColumns compares a survey's columns with sums in plain order; all are exact.
func checkColumns(t *testing.T, data *counts, seen embed.Columns) {
	t.Helper()
	want := columns(data.nGenes)
	for cell := range nCells {
		row := data.data[data.indptr[cell]:data.indptr[cell+1]]
		fractional := slices.ContainsFunc(row, func(v float32) bool { return v > 0 && v != float32(int(v)) })
		for k, v := range row {
			if v <= 0 {
				continue
			}
			gene := data.indices[int(data.indptr[cell])+k]
			want.Totals[gene] += float64(v)
			if fractional {
				want.Squares[gene] += float64(v) * float64(v)
				want.Largest[gene] = max(want.Largest[gene], v)
			}
		}
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("columns %+v, want %+v", seen, want)
	}
}

func TestChunksShareColumns(t *testing.T) {
	m, data := open(t, "soft-bins", true), draw(nCells, 30)
	seen := columns(data.nGenes)
	for from := 0; from < nCells; from += 17 {
		c := data.cells(t, from, min(from+17, nCells))
		c.Columns = seen
		if _, _, err := m.Survey(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	checkColumns(t, data, seen)
	// No memory is needed for what is not wanted.
	if _, _, err := m.Survey(t.Context(), data.cells(t, 0, nCells)); err != nil {
		t.Fatal(err)
	}
}

func TestASurveyCountsWhatIsNotFinite(t *testing.T) {
	m := open(t, "soft-bins", true)
	const nGenes = 31
	nan, inf := math.NaN(), math.Inf(1)
	values := make([]float64, nCells*nGenes)
	for i := range values {
		values[i] = float64(i % 5)
	}
	tokens := make([]int32, nGenes)
	for i := range tokens {
		tokens[i] = int32(i)
	}
	at := func(cell, gene int) *float64 { return &values[cell*nGenes+gene] }
	*at(12, 30), *at(12, 4), *at(40, 4), *at(41, 4) = nan, nan, 1e200, -inf
	for gene := range nGenes {
		*at(60, gene) = nan
	}
	for _, threads := range []int{1, 5} {
		matrix, err := expression.NewDense(nCells, nGenes, nGenes, 1, values)
		if err != nil {
			t.Fatal(err)
		}
		c := &embed.Cells{Matrix: matrix, Tokens: tokens, Threads: threads, Share: make([]float32, nCells)}
		seen := columns(nGenes)
		c.Columns = seen
		report, got, err := m.Survey(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		first := got.First
		if first == nil || first.Cell != 12 || first.Gene != 4 || !math.IsNaN(first.Value) {
			t.Errorf("first %v", first)
		}
		if len(got.Patterns) != 3 || !slices.IsSorted(got.Patterns) { // cells 40 and 41 lack the same gene
			t.Errorf("patterns %v", got.Patterns)
		}
		got.First, got.Patterns = nil, nil
		want := embed.NotFinite{NNaN: 2 + nGenes, NInfinite: 1, NTooLarge: 1, NCells: 4, NWholeCells: 1}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if seen.NotFinite[4] != 4 || seen.NotFinite[30] != 2 || seen.NotFinite[0] != 1 {
			t.Errorf("columns %v", seen.NotFinite)
		}
		if n := report.NCounts + report.NLog1p; n != nCells-4 {
			t.Errorf("%d cells reported, want the %d others", n, nCells-4)
		}
		if !math.IsNaN(float64(c.Share[60])) || math.IsNaN(float64(c.Share[61])) {
			t.Errorf("shares %v", c.Share[60:62])
		}
	}
}

func TestPatternsAreBounded(t *testing.T) {
	m := open(t, "soft-bins", true)
	const nGenes = 100
	values := make([]float32, nGenes*nGenes)
	tokens := make([]int32, nGenes)
	for i := range nGenes {
		values[i*nGenes+i] = float32(math.NaN()) // every cell lacks another gene
		tokens[i] = -1
		if i < 30 {
			tokens[i] = int32(i)
		}
	}
	var before []uint64
	for _, threads := range []int{1, 4} {
		matrix, err := expression.NewDense(nGenes, nGenes, nGenes, 1, values)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := m.Survey(t.Context(), &embed.Cells{Matrix: matrix, Tokens: tokens, Threads: threads})
		if err != nil || got.NCells != nGenes || len(got.Patterns) != 65 {
			t.Fatalf("%d cells, %d patterns, %v", got.NCells, len(got.Patterns), err)
		}
		if before != nil && !slices.Equal(before, got.Patterns) {
			t.Error("threads change which patterns are kept")
		}
		before = got.Patterns
	}
}

func TestASurveyThatCannotBe(t *testing.T) {
	m, data := open(t, "soft-bins", true), draw(nCells, 30)
	c := data.cells(t, 0, nCells)
	c.Columns = columns(3)
	if _, _, err := m.Survey(t.Context(), c); !errors.Is(err, embed.ErrOption) {
		t.Errorf("columns that do not fit: %v", err)
	}
	c = data.cells(t, 0, nCells)
	c.Threads = -1
	if _, _, err := m.Survey(t.Context(), c); !errors.Is(err, embed.ErrOption) {
		t.Errorf("threads: %v", err)
	}
	c = data.cells(t, 0, nCells)
	c.Tokens = c.Tokens[1:]
	if _, _, err := m.Survey(t.Context(), c); !errors.Is(err, embed.ErrOption) {
		t.Errorf("tokens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := m.Survey(ctx, data.cells(t, 0, nCells)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c = data.cells(t, 0, nCells)
	c.Progress = func(int) { panic("progress") }
	if _, _, err := m.Survey(t.Context(), c); !errors.Is(err, safego.ErrPanic) {
		t.Errorf("a panic: %v", err)
	}
}

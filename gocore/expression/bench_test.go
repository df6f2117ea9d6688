package expression_test

import (
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/internal/benchcells"
)

func TestReadAllocatesNothing(t *testing.T) {
	data := []float32{3, -1, 2, 0, 5, 1, 1}
	for name, indices := range map[string][]int32{
		"rising genes":        {0, 2, 3, 0, 1, 2, 4},
		"any order, repeated": {2, 0, 2, 4, 3, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := expression.NewCSR(2, 5, data, indices, []int64{0, 3, 7})
			if err != nil {
				t.Fatal(err)
			}
			reader := expression.NewReader(m)
			// The first run of AllocsPerRun is not counted: there the reader grows to its largest cell.
			allocations := testing.AllocsPerRun(50, func() {
				for cell := range m.NCells() {
					if _, err := reader.Read(cell); err != nil {
						t.Fatal(err)
					}
				}
			})
			if allocations != 0 {
				t.Errorf("%v allocations for %d cells, want 0", allocations, m.NCells())
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	cells := benchcells.Load(b)
	unordered := *cells
	unordered.Indices = append([]int32(nil), cells.Indices...)
	for cell := range cells.NCells {
		at := cells.Indptr[cell]
		unordered.Indices[at], unordered.Indices[at+1] = unordered.Indices[at+1], unordered.Indices[at]
	}
	for _, c := range []struct {
		name   string
		matrix expression.Matrix
	}{
		{"csr", cells.Matrix(b)},
		{"csr any order", unordered.Matrix(b)},
		{"dense", cells.Dense(b)},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := c.matrix
			reader := expression.NewReader(m)
			b.ReportAllocs()
			cell := 0
			for b.Loop() {
				if _, err := reader.Read(cell); err != nil {
					b.Fatal(err)
				}
				cell = (cell + 1) % m.NCells()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cells/s")
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	reader := expression.NewReader(benchcells.Load(b).Matrix(b))
	row, err := reader.Read(0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		expression.Judge(row.Values)
	}
}

package pybind

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
)

// readBack reads a matrix with whatever is above the border.
func readBack(t *testing.T, m expression.Matrix) (rows []string) {
	t.Helper()
	reader := expression.NewReader(m)
	for cell := range m.NCells() {
		row, err := reader.Read(cell)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, fmt.Sprint(row.Columns, row.Values))
	}
	return rows
}

// read has a matrix cross the border.
func read(t *testing.T, described any) (m matrix) {
	t.Helper()
	text, err := toJSON(described)
	if err == nil {
		err = fromJSON(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func viewOfType[V expression.Number](t *testing.T, dtype string) {
	t.Helper()
	t.Run(dtype, func(t *testing.T) {
		want := []string{"[1 2] [3 4]", "[0] [5]"}
		dense := denseMatrix{
			Kind: "dense", NCells: 2, NGenes: 3, CellStride: 3, GeneStride: 1,
			Data: borrowed(t, dtype, V(0), V(3), V(4), V(5), V(0), V(0)),
		}
		sparse := csrMatrix{
			Kind: "csr", NCells: 2, NGenes: 3, Data: borrowed(t, dtype, V(3), V(4), V(5)),
			Indices: borrowed(t, "int32", int32(1), 2, 0), Indptr: borrowed(t, "int64", int64(0), 2, 3),
		}
		wide := sparse
		wide.Indices = borrowed(t, "int64", int64(1), 2, 0)
		for name, described := range map[string]any{"dense": dense, "csr": sparse, "csr with int64 indices": wide} {
			view, err := read(t, described).view()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := readBack(t, view); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

func TestMatrixOfEveryType(t *testing.T) {
	viewOfType[float32](t, "float32")
	viewOfType[float64](t, "float64")
	viewOfType[int8](t, "int8")
	viewOfType[int16](t, "int16")
	viewOfType[int32](t, "int32")
	viewOfType[int64](t, "int64")
	viewOfType[uint8](t, "uint8")
	viewOfType[uint16](t, "uint16")
	viewOfType[uint32](t, "uint32")
	viewOfType[uint64](t, "uint64")
}

func TestRefusedMatrices(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(map[string]any)
		want  error
		says  string
	}{
		{"another type", func(m map[string]any) { m["data"] = borrowed(t, "complex64", int64(1)) }, expression.ErrShape, `"complex64"`},
		{"another kind", func(m map[string]any) { m["kind"] = "coo" }, errRequest, `"coo"`},
		{"no kind", func(m map[string]any) { delete(m, "kind") }, errRequest, `kind ""`},
		{"no indptr", func(m map[string]any) { delete(m, "indptr") }, errRequest, `matrix: request: "indptr" is missing`},
		{"a stride", func(m map[string]any) { m["cell_stride"] = 3 }, errRequest, `"cell_stride" is unknown`},
		{"dense with indices", func(m map[string]any) { m["kind"] = "dense" }, errRequest, `"cell_stride" is missing, "gene_stride" is missing, "indices" is unknown, "indptr" is unknown`},
		{"memory without a length", func(m map[string]any) { m["data"] = map[string]any{"address": 0, "dtype": "float32"} }, errRequest, `"data.length" is missing`},
		{"indices of another type", func(m map[string]any) { m["indices"] = borrowed(t, "uint32", uint32(1), 2, 0) }, errMemory, `"uint32"`},
		{"indptr of another type", func(m map[string]any) { m["indptr"] = borrowed(t, "int32", int32(0), 2, 3) }, errMemory, `"int32"`},
		{"values at null", func(m map[string]any) { m["data"] = array{Length: 3, DType: "float32"} }, errMemory, "null"},
		{"indices at null", func(m map[string]any) { m["indices"] = array{Length: 3, DType: "int32"} }, errMemory, "null"},
		{"indptr not aligned", func(m map[string]any) { m["indptr"] = array{Address: 4, Length: 3, DType: "int64"} }, errMemory, "aligned to 8"},
		{"more cells", func(m map[string]any) { m["n_cells"] = 3 }, expression.ErrShape, "3 cells need 4"},
		{"dense of more cells", func(m map[string]any) {
			m["kind"], m["cell_stride"], m["gene_stride"] = "dense", 3, 1
			delete(m, "indices")
			delete(m, "indptr")
		}, expression.ErrShape, "element 5 of 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			described := map[string]any{
				"kind": "csr", "n_cells": 2, "n_genes": 3, "data": borrowed(t, "float32", float32(3), 4, 5),
				"indices": borrowed(t, "int32", int32(1), 2, 0), "indptr": borrowed(t, "int64", int64(0), 2, 3),
			}
			c.spoil(described)
			text, err := toJSON(described)
			if err != nil {
				t.Fatal(err)
			}
			var m matrix
			if err = fromJSON(text, &m); err == nil {
				_, err = m.view()
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
	if _, err := (matrix{}).view(); !errors.Is(err, expression.ErrShape) {
		t.Errorf("no matrix at all: %v", err)
	}
}

package pybind

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/se600m/se600m-go/gocore/expression"
)

// borrowed stands in for numpy: memory that stays where it is while a test runs.
func borrowed[T any](t *testing.T, dtype string, values ...T) array {
	t.Helper()
	if len(values) == 0 {
		return array{DType: dtype}
	}
	pinner := new(runtime.Pinner)
	pinner.Pin(&values[0])
	t.Cleanup(pinner.Unpin)
	return array{Address: uint64(uintptr(unsafe.Pointer(&values[0]))), Length: len(values), DType: dtype}
}

func TestSlice(t *testing.T) {
	values := []float32{1, 2, 3}
	a := borrowed(t, "float32", values...)
	view, err := slice[float32](a)
	if err != nil || !slices.Equal(view, []float32{1, 2, 3}) || cap(view) != 3 {
		t.Fatalf("%v, cap %d, %v", view, cap(view), err)
	}
	view[1] = 7
	if again, err := slice[float32](a); err != nil || again[1] != 7 {
		t.Errorf("%v, %v: not the same memory", again, err)
	}
	if empty, err := slice[float32](array{}); err != nil || empty == nil || len(empty) != 0 {
		t.Errorf("nothing: %v, %v", empty, err)
	}
	for _, c := range []struct {
		name string
		a    array
		says string
	}{
		{"null", array{Length: 3}, "3 elements at the null address"},
		{"negative length", array{Address: a.Address, Length: -1}, "-1 elements"},
		{"no memory has so much", array{Address: a.Address, Length: math.MaxInt}, "9223372036854775807 elements"},
		{"not aligned", array{Address: a.Address + 2, Length: 1}, "is not aligned to 4 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v, err := slice[float32](c.a); !errors.Is(err, errMemory) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v; want one saying %q", v, err, c.says)
			}
		})
	}
	if _, err := slice[float64](array{Address: a.Address&^7 + 4, Length: 1}); !errors.Is(err, errMemory) {
		t.Errorf("four bytes off for float64: %v", err)
	}
	if _, err := slice[int8](array{Address: a.Address + 1, Length: 1}); err != nil {
		t.Errorf("bytes are always aligned: %v", err)
	}
}

func TestTyped(t *testing.T) {
	a := borrowed(t, "float32", float32(1))
	if _, err := typed[float64](a, "float64"); !errors.Is(err, errMemory) || !strings.Contains(err.Error(), `"float32" where "float64"`) {
		t.Errorf("got %v", err)
	}
	if v, err := optional[float32](nil, "float32"); v != nil || err != nil {
		t.Errorf("left out: %v, %v", v, err)
	}
	if v, err := optional[float32](&a, "float32"); err != nil || len(v) != 1 {
		t.Errorf("given: %v, %v", v, err)
	}
}

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

func viewOfType[V expression.Number](t *testing.T, dtype string) {
	t.Helper()
	t.Run(dtype, func(t *testing.T) {
		want := []string{"[1 2] [3 4]", "[0] [5]"}
		dense := matrix{
			Kind: "dense", NCells: 2, NGenes: 3, CellStride: 3, GeneStride: 1,
			Data: borrowed(t, dtype, V(0), V(3), V(4), V(5), V(0), V(0)),
		}
		sparse := matrix{
			Kind: "csr", NCells: 2, NGenes: 3, Data: borrowed(t, dtype, V(3), V(4), V(5)),
			Indices: borrowed(t, "int32", int32(1), 2, 0), Indptr: borrowed(t, "int64", int64(0), 2, 3),
		}
		wide := sparse
		wide.Indices = borrowed(t, "int64", int64(1), 2, 0)
		for name, m := range map[string]matrix{"dense": dense, "csr": sparse, "csr with int64 indices": wide} {
			view, err := m.view()
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
		spoil func(*matrix)
		want  error
		says  string
	}{
		{"another type", func(m *matrix) { m.Data.DType = "complex64" }, expression.ErrShape, `"complex64"`},
		{"another kind", func(m *matrix) { m.Kind = "coo" }, errMemory, `"coo"`},
		{"indices of another type", func(m *matrix) { m.Indices.DType = "uint32" }, errMemory, `"uint32"`},
		{"indptr of another type", func(m *matrix) { m.Indptr.DType = "int32" }, errMemory, `"int32"`},
		{"values at null", func(m *matrix) { m.Data.Address = 0 }, errMemory, "null"},
		{"indices at null", func(m *matrix) { m.Indices.Address = 0 }, errMemory, "null"},
		{"indptr not aligned", func(m *matrix) { m.Indptr.Address += 4 }, errMemory, "aligned to 8"},
		{"more cells", func(m *matrix) { m.NCells = 3 }, expression.ErrShape, "3 cells need 4"},
		{"dense of more cells", func(m *matrix) { m.Kind, m.CellStride, m.GeneStride = "dense", 3, 1 }, expression.ErrShape, "element 5 of 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := matrix{
				Kind: "csr", NCells: 2, NGenes: 3, Data: borrowed(t, "float32", float32(3), 4, 5),
				Indices: borrowed(t, "int32", int32(1), 2, 0), Indptr: borrowed(t, "int64", int64(0), 2, 3),
			}
			c.spoil(&m)
			if _, err := m.view(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

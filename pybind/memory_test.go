package pybind

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
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

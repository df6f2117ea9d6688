package pybind

import (
	"context"
	"testing"
	"unsafe"
)

// What Go's side of the border costs; tools/bench times the whole crossing from
// Python.
func BenchmarkWait(b *testing.B) {
	handle := begin(func(context.Context, *job) (any, error) { return nil, nil })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Wait(handle, 50); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJob(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		handle := begin(func(context.Context, *job) (any, error) { return nil, nil })
		if _, err := Wait(handle, 50); err != nil {
			b.Fatal(err)
		}
		if _, err := Finish(handle); err != nil {
			b.Fatal(err)
		}
	}
}

// Four megabytes that lie in another's memory are read and written in place.
func BenchmarkMemory(b *testing.B) {
	const length = 1 << 20
	source, target := make([]float32, length), make([]float32, length)
	in := array{Address: uint64(uintptr(unsafe.Pointer(&source[0]))), Length: length, DType: "float32"}
	out := array{Address: uint64(uintptr(unsafe.Pointer(&target[0]))), Length: length, DType: "float32"}
	b.SetBytes(2 * 4 * length)
	b.ReportAllocs()
	for b.Loop() {
		from, err := typed[float32](in, "float32")
		if err != nil {
			b.Fatal(err)
		}
		to, err := typed[float32](out, "float32")
		if err != nil {
			b.Fatal(err)
		}
		copy(to, from)
	}
}

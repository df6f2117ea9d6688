package statetest

import (
	"runtime/metrics"
	"testing"
)

// Allocated is how many bytes of Go's memory f takes in all, those given back
// included. Nothing else may run at the same time.
func Allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// Within makes sure that the memory that f takes is bounded by the size of its
// input, whatever the input claims: a constant, and so much for each byte.
func Within(tb testing.TB, constant, perByte, inputSize int, f func()) {
	tb.Helper()
	if n := Allocated(f); n > uint64(constant+perByte*inputSize) {
		tb.Fatalf("%d bytes of memory for an input of %d", n, inputSize)
	}
}

package onnx_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/onnx"
)

func TestWeightsWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.bin")
	w, err := onnx.CreateWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]float32, 2000) // more than a page
	for i := range long {
		long[i] = float32(i) / 3
	}
	first, err := w.Tensor([]float32{1, -2.5, float32(math.Pi)})
	if err != nil {
		t.Fatal(err)
	}
	begin, err := w.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(long[:700]), w.Write(nil), w.Write(long[700:])); err != nil {
		t.Fatal(err)
	}
	second := w.End(begin)
	third, err := w.Tensor([]float32{4})
	if err != nil {
		t.Fatal(err)
	}
	size, sum, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ got, want onnx.Location }{
		{first, onnx.Location{File: "weights.bin", Offset: 0, Length: 12}},
		{second, onnx.Location{File: "weights.bin", Offset: 4096, Length: 8000}},
		{third, onnx.Location{File: "weights.bin", Offset: 3 * 4096, Length: 4}},
	} {
		if c.got != c.want {
			t.Errorf("tensor %d: %+v, want %+v", i, c.got, c.want)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if whole := sha256.Sum256(content); size != int64(len(content)) || sum != hex.EncodeToString(whole[:]) {
		t.Errorf("%d bytes, %s; the file has %d, %x", size, sum, len(content), whole)
	}
	read := func(at onnx.Location) []float32 {
		values := make([]float32, at.Length/4)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(content[at.Offset+int64(4*i):]))
		}
		return values
	}
	if got := read(first); !slices.Equal(got, []float32{1, -2.5, float32(math.Pi)}) {
		t.Errorf("first: %v", got)
	}
	if !slices.Equal(read(second), long) {
		t.Error("second: differs")
	}
	if gap := content[12:4096]; slices.ContainsFunc(gap, func(b byte) bool { return b != 0 }) {
		t.Error("the gap between tensors is not zero")
	}
}

func TestWeightsWriterFails(t *testing.T) {
	if _, err := onnx.CreateWeights(filepath.Join(t.TempDir(), "nowhere", "weights.bin")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	w, err := onnx.CreateWeights(filepath.Join(t.TempDir(), "weights.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Tensor([]float32{1}); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, _, err := w.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

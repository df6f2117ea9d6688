package checkpoint

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

// The half-precision values are those of IEEE 754-2008, table 3.5's format.
func TestFloat16(t *testing.T) {
	for bits, want := range map[uint16]float32{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x3555: 0.333251953125, 0x7bff: 65504,
		0x0001: 1.0 / (1 << 24), 0x03ff: 1023.0 / (1 << 24), 0x0400: 1.0 / (1 << 14), 0x8001: -1.0 / (1 << 24),
		0x7c00: float32(math.Inf(1)), 0xfc00: float32(math.Inf(-1)),
	} {
		if got := float16(bits); got != want {
			t.Errorf("%#04x: %v, want %v", bits, got, want)
		}
	}
	if got := float16(0x7e01); !math.IsNaN(float64(got)) {
		t.Errorf("0x7e01: %v, want NaN", got)
	}
	if got := float16(0x8000); got != 0 || !math.Signbit(float64(got)) {
		t.Errorf("0x8000: %v, want -0", got)
	}
}

func TestReadFloat32OfEveryType(t *testing.T) {
	want := []float32{1, -2, 0.5}
	for _, stored := range []statetest.Tensor{
		{Type: "F64", Bytes: []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f}},
		statetest.Float32(want),
		{Type: "F16", Bytes: []byte{0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38}},
		{Type: "BF16", Bytes: []byte{0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3f}},
	} {
		t.Run(stored.Type, func(t *testing.T) {
			stored.Shape = []int{3}
			for container, tensor := range bothContainers(t, stored) {
				got := make([]float32, 2)
				if err := tensor.ReadFloat32(got, 1); err != nil || !slices.Equal(got, want[1:]) {
					t.Errorf("%s: %v, %v; want %v", container, got, err, want[1:])
				}
			}
		})
	}
	for name, size := range map[string]int{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1} {
		t.Run(name, func(t *testing.T) {
			for container, tensor := range bothContainers(t, statetest.Tensor{Type: name, Shape: []int{2}, Bytes: make([]byte, 2*size)}) {
				err := tensor.ReadFloat32(make([]float32, 2), 0)
				if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tensor.DType.Name) {
					t.Errorf("%s: got %v", container, err)
				}
			}
		})
	}
}

// bothContainers stores a tensor in a safetensors and in a torch file.
func bothContainers(t *testing.T, stored statetest.Tensor) map[string]*Tensor {
	t.Helper()
	file := statetest.Safetensors(map[string]statetest.Tensor{"x": stored})
	tensors, err := readSafetensors(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	file = statetest.Torch(stored)
	value, err := readTorch(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*Tensor{"safetensors": tensors["x"], "torch": value.(*Tensor)}
}

func TestReadFloat32InPieces(t *testing.T) {
	values := make([]float32, readPiece/4+1000)
	for i := range values {
		values[i] = float32(i)
	}
	for container, tensor := range bothContainers(t, statetest.Float32(values, len(values))) {
		got := make([]float32, len(values)-3)
		if err := tensor.ReadFloat32(got, 3); err != nil || !slices.Equal(got, values[3:]) {
			t.Errorf("%s: differs, %v", container, err)
		}
		for _, outside := range []struct{ start, n int }{{-1, 1}, {0, len(values) + 1}, {len(values), 1}} {
			if err := tensor.ReadFloat32(make([]float32, outside.n), outside.start); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %d elements from %d: got %v", container, outside.n, outside.start, err)
			}
		}
	}
}

func TestReadFloat32OfViews(t *testing.T) {
	of := statetest.Float32([]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 12)
	for _, c := range []struct {
		name string
		view statetest.View
		want []float32
	}{
		{"rows of a table", statetest.View{Offset: 4, Shape: []int{2, 3}, Strides: []int{3, 1}}, []float32{4, 5, 6, 7, 8, 9}},
		{"transposed", statetest.View{Shape: []int{4, 3}, Strides: []int{1, 4}}, []float32{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}},
		{"every other column", statetest.View{Offset: 1, Shape: []int{2, 3}, Strides: []int{6, 2}}, []float32{1, 3, 5, 7, 9, 11}},
		{"some columns", statetest.View{Offset: 1, Shape: []int{3, 2}, Strides: []int{4, 1}}, []float32{1, 2, 5, 6, 9, 10}},
		{"expanded", statetest.View{Offset: 2, Shape: []int{3, 2}, Strides: []int{0, 1}}, []float32{2, 3, 2, 3, 2, 3}},
		{"a scalar", statetest.View{Offset: 7, Shape: []int{}, Strides: []int{}}, []float32{7}},
		{"strides that do not matter", statetest.View{Offset: 3, Shape: []int{1, 2}, Strides: []int{99, 1}}, []float32{3, 4}},
		{"empty", statetest.View{Shape: []int{0, 5}, Strides: []int{5, 1}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.view.Of = &of
			file := statetest.Torch(c.view)
			value, err := readTorch(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			tensor := value.(*Tensor)
			got := make([]float32, tensor.NumElements())
			if err := tensor.ReadFloat32(got, 0); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
			if len(c.want) < 3 {
				return
			}
			part := make([]float32, len(c.want)-2) // begins within a run
			if err := tensor.ReadFloat32(part, 1); err != nil || !slices.Equal(part, c.want[1:len(c.want)-1]) {
				t.Errorf("a part: %v, %v; want %v", part, err, c.want[1:len(c.want)-1])
			}
		})
	}
}

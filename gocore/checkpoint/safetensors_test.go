package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

func TestReadSafetensors(t *testing.T) {
	file := statetest.Safetensors(map[string]statetest.Tensor{
		"a": statetest.Float32([]float32{1, 2, 3, 4, 5, 6}, 2, 3),
		"b": statetest.Float32([]float32{7}),
		"c": statetest.Float32(nil, 0, 4),
	})
	tensors, err := readSafetensors(bytes.NewReader(file), int64(len(file)))
	if err != nil || len(tensors) != 3 {
		t.Fatalf("%d tensors, %v", len(tensors), err)
	}
	for name, want := range map[string]struct {
		shape  []int
		values []float32
	}{"a": {[]int{2, 3}, []float32{1, 2, 3, 4, 5, 6}}, "b": {[]int{}, []float32{7}}, "c": {[]int{0, 4}, []float32{}}} {
		tensor := tensors[name]
		got := make([]float32, tensor.NumElements())
		if err := tensor.ReadFloat32(got, 0); err != nil || !slices.Equal(got, want.values) || !slices.Equal(tensor.Shape, want.shape) {
			t.Errorf("%s: %v of %v, %v; want %v of %v", name, got, tensor.Shape, err, want.values, want.shape)
		}
	}
}

func TestRefusedSafetensors(t *testing.T) {
	entry := func(dtype, shape, offsets string) []byte {
		return statetest.SafetensorsOf(`{"x": {"dtype": `+dtype+`, "shape": `+shape+`, "data_offsets": `+offsets+`}}`, make([]byte, 16))
	}
	huge := binary.LittleEndian.AppendUint64(nil, 1<<40)
	for _, c := range []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"empty", nil, ErrMalformed, "0 bytes are no safetensors file"},
		{"seven bytes", make([]byte, 7), ErrMalformed, "7 bytes"},
		{"header past the end", append(binary.LittleEndian.AppendUint64(nil, 3), '{', '}'), ErrMalformed, "a header of 3 bytes in a file of 10"},
		{"header of a terabyte", append(huge, '{', '}'), ErrMalformed, "1099511627776"},
		{"header longer than any number", bytes.Repeat([]byte{0xff}, 16), ErrMalformed, "18446744073709551615"},
		{"header is no JSON", statetest.SafetensorsOf("hello", nil), ErrMalformed, "header: invalid character"},
		{"header is a list", statetest.SafetensorsOf("[]", nil), ErrMalformed, "header"},
		{"entry is a number", statetest.SafetensorsOf(`{"x": 1}`, nil), ErrMalformed, `tensor "x"`},
		{"unknown type", entry(`"F8_E4M3"`, `[4]`, `[0, 4]`), ErrUnsupported, `type "F8_E4M3"`},
		{"no type", statetest.SafetensorsOf(`{"x": {"shape": [1]}}`, nil), ErrUnsupported, `type ""`},
		{"negative dimension", entry(`"F32"`, `[-1]`, `[0, 4]`), ErrMalformed, "[-1]"},
		{"product overflows", entry(`"F32"`, `[4294967296, 4294967296]`, `[0, 0]`), ErrMalformed, "4294967296"},
		{"bytes past the end", entry(`"F32"`, `[4]`, `[4, 20]`), ErrMalformed, "bytes 4 to 20 of 16"},
		{"bytes before the beginning", entry(`"F32"`, `[4]`, `[-4, 12]`), ErrMalformed, "bytes -4 to 12"},
		{"bytes backwards", entry(`"F32"`, `[0]`, `[8, 4]`), ErrMalformed, "bytes 8 to 4"},
		{"too few bytes", entry(`"F32"`, `[2, 2]`, `[0, 8]`), ErrMalformed, "8 bytes for shape [2 2] of float32"},
		{"shape is text", entry(`"F32"`, `"4"`, `[0, 16]`), ErrMalformed, `tensor "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSafetensors(bytes.NewReader(c.file), int64(len(c.file)))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
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
		{"empty", nil, ErrMalformed, "a file of 0 bytes is not a safetensors file"},
		{"seven bytes", make([]byte, 7), ErrMalformed, "7 bytes"},
		{"header past the end", append(binary.LittleEndian.AppendUint64(nil, 3), '{', '}'), ErrMalformed, "the header claims 3 bytes, but the file has 10"},
		{"header of a terabyte", append(huge, '{', '}'), ErrMalformed, "1099511627776"},
		{"header longer than any number", bytes.Repeat([]byte{0xff}, 16), ErrMalformed, "18446744073709551615"},
		{"header is no JSON", statetest.SafetensorsOf("hello", nil), ErrMalformed, "header: invalid character"},
		{"header is a list", statetest.SafetensorsOf("[]", nil), ErrMalformed, "header"},
		{"entry is a number", statetest.SafetensorsOf(`{"x": 1}`, nil), ErrMalformed, `tensor "x"`},
		{"unknown type", entry(`"F8_E4M3"`, `[4]`, `[0, 4]`), ErrUnsupported, `type "F8_E4M3"`},
		{"no type", statetest.SafetensorsOf(`{"x": {"shape": [1]}}`, nil), ErrUnsupported, `type ""`},
		{"negative dimension", entry(`"F32"`, `[-1]`, `[0, 4]`), ErrMalformed, "[-1]"},
		{"product overflows", entry(`"F32"`, `[4294967296, 4294967296]`, `[0, 0]`), ErrMalformed, "4294967296"},
		{"bytes past the end", entry(`"F32"`, `[4]`, `[4, 20]`), ErrMalformed, "bytes 4 to 20 of 16: the file is cut off"},
		{"bytes before the beginning", entry(`"F32"`, `[4]`, `[-4, 12]`), ErrMalformed, "bytes -4 to 12"},
		{"bytes backwards", entry(`"F32"`, `[0]`, `[8, 4]`), ErrMalformed, "bytes 8 to 4"},
		{"too few bytes", entry(`"F32"`, `[2, 2]`, `[0, 8]`), ErrMalformed, "8 bytes for shape [2 2] of float32"},
		{"shape is text", entry(`"F32"`, `"4"`, `[0, 16]`), ErrMalformed, `tensor "x"`},
		{"header of nothing", statetest.SafetensorsOf("", nil), ErrMalformed, "header: unexpected end of JSON input"},
		{"header breaks off", statetest.SafetensorsOf(`{"x": {"dtype"`, nil), ErrMalformed, "header: unexpected end of JSON input"},
		{"header breaks off after a name", statetest.SafetensorsOf(`{"x":`, nil), ErrMalformed, "header: unexpected end of JSON input"},
		{"header begins with a blank", statetest.SafetensorsOf(` {}`, nil), ErrMalformed, "header: not a JSON object"},
		{"header and more", statetest.SafetensorsOf(`{} {}`, nil), ErrMalformed, "header: there is other data"},
		{"header is not UTF-8", statetest.SafetensorsOf("{\"\xff\": 1}", nil), ErrMalformed, "header: the text is not UTF-8"},
		{"metadata is no map of text", statetest.SafetensorsOf(`{"__metadata__": {"a": 1}}`, nil), ErrMalformed, "header: __metadata__"},
		{"entry is null", statetest.SafetensorsOf(`{"x": null}`, nil), ErrMalformed, `tensor "x": not a JSON object`},
		{"type is a number", entry(`1`, `[4]`, `[0, 16]`), ErrMalformed, `tensor "x": dtype`},
		{"no shape", statetest.SafetensorsOf(`{"x": {"dtype": "F32", "data_offsets": [0, 4]}}`, make([]byte, 4)), ErrMalformed, `tensor "x": shape: it is missing`},
		{"shape is null", entry(`"F32"`, `null`, `[0, 4]`), ErrMalformed, `tensor "x": shape: null is not a list`},
		{"dimension is null", entry(`"F32"`, `[4, null]`, `[0, 0]`), ErrMalformed, `tensor "x": shape: null is not a number`},
		{"dimension is a fraction", entry(`"F32"`, `[4.5]`, `[0, 16]`), ErrMalformed, `tensor "x": shape`},
		{"no offsets", statetest.SafetensorsOf(`{"x": {"dtype": "F32", "shape": [0]}}`, nil), ErrMalformed, `tensor "x": data_offsets: it is missing`},
		{"one offset", entry(`"F32"`, `[4]`, `[16]`), ErrMalformed, `tensor "x": data_offsets: 1 numbers`},
		{"three offsets", entry(`"F32"`, `[4]`, `[0, 16, 16]`), ErrMalformed, `tensor "x": data_offsets: 3 numbers`},
		{"offset beyond int64", entry(`"F32"`, `[4]`, `[0, 18446744073709551616]`), ErrMalformed, `tensor "x": data_offsets`},
		{"names in capitals are others", statetest.SafetensorsOf(`{"x": {"DTYPE": "U8", "shape": [1], "data_offsets": [0, 1]}}`, []byte{1}), ErrUnsupported, `type ""`},
		{
			"a tensor twice",
			statetest.SafetensorsOf(`{"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}`, []byte{1}),
			ErrMalformed, `header: "x" occurs twice`,
		},
		{
			"a tensor twice, spelled in two ways",
			statetest.SafetensorsOf(`{"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "\u0078": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}`, []byte{1}),
			ErrMalformed, `header: "x" occurs twice`,
		},
		{
			"a shape twice",
			statetest.SafetensorsOf(`{"x": {"dtype": "U8", "shape": [1], "shape": [1], "data_offsets": [0, 1]}}`, []byte{1}),
			ErrMalformed, `tensor "x": "shape" occurs twice`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSafetensors(bytes.NewReader(c.file), int64(len(c.file)))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

// Tensors fill the file from the end of the header to its end, each byte once.
func TestLayoutOfSafetensors(t *testing.T) {
	type bytesOf struct {
		name       string
		begin, end int
	}
	for _, c := range []struct {
		name     string
		size     int
		sections []bytesOf
		says     string // nothing: the file is sound
	}{
		{"no tensors", 0, nil, ""},
		{"one after the other", 12, []bytesOf{{"a", 0, 4}, {"b", 4, 12}}, ""},
		{"in another order than their names", 12, []bytesOf{{"a", 8, 12}, {"b", 0, 8}}, ""},
		{"empty tensors where others begin and end", 8, []bytesOf{{"a", 0, 0}, {"b", 0, 4}, {"c", 4, 4}, {"d", 4, 8}, {"e", 8, 8}, {"f", 8, 8}}, ""},
		{"the same bytes", 4, []bytesOf{{"a", 0, 4}, {"b", 0, 4}}, `tensors "a" (bytes 0 to 4) and "b" (bytes 0 to 4) overlap`},
		{"some bytes are shared", 8, []bytesOf{{"b", 0, 5}, {"a", 4, 8}}, `tensors "b" (bytes 0 to 5) and "a" (bytes 4 to 8) overlap`},
		{"one inside another", 8, []bytesOf{{"a", 0, 8}, {"b", 2, 4}}, `tensors "a" (bytes 0 to 8) and "b" (bytes 2 to 4) overlap`},
		{"an empty one inside another", 8, []bytesOf{{"a", 0, 8}, {"b", 4, 4}}, `tensors "a" (bytes 0 to 8) and "b" (bytes 4 to 4) overlap`},
		{"a hole at the beginning", 8, []bytesOf{{"a", 4, 8}}, "bytes 0 to 4 of 8 belong to no tensor"},
		{"a hole between", 12, []bytesOf{{"a", 0, 4}, {"b", 8, 12}}, "bytes 4 to 8 of 12 belong to no tensor"},
		{"a hole before an empty one", 8, []bytesOf{{"a", 0, 4}, {"b", 8, 8}}, "bytes 4 to 8 of 8 belong to no tensor"},
		{"more at the end", 9, []bytesOf{{"a", 0, 4}, {"b", 4, 8}}, "bytes 8 to 9 of 9 belong to no tensor"},
		{"bytes without tensors", 3, nil, "bytes 0 to 3 of 3 belong to no tensor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := map[string]any{}
			for _, s := range c.sections {
				header[s.name] = map[string]any{"dtype": "U8", "shape": []int{s.end - s.begin}, "data_offsets": []int{s.begin, s.end}}
			}
			text, err := json.Marshal(header)
			if err != nil {
				t.Fatal(err)
			}
			file := statetest.SafetensorsOf(string(text)+"   ", make([]byte, c.size)) // the header may be padded with blanks
			tensors, err := readSafetensors(bytes.NewReader(file), int64(len(file)))
			switch {
			case c.says == "":
				if err != nil || len(tensors) != len(c.sections) {
					t.Errorf("%d tensors, %v", len(tensors), err)
				}
			case !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "save it again"):
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

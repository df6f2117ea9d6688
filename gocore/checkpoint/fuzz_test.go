package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// within bounds the memory for a file: a memo entry for every two bytes of pickle
// is the largest of the honest needs.
func within(t *testing.T, inputSize int, f func()) {
	t.Helper()
	statetest.Within(t, 4<<20, 1000, inputSize, f)
}

// readAll reads a tensor, of which a file can claim no more than it has, and
// reads its last element apart.
func readAll(t *testing.T, tensor *Tensor) {
	t.Helper()
	n := tensor.NumElements()
	values := make([]float32, n)
	if err := tensor.ReadFloat32(values, 0); err != nil {
		return // integers
	}
	if n > 0 {
		var last [1]float32
		if err := tensor.ReadFloat32(last[:], n-1); err != nil || last[0] != values[n-1] && last[0] == last[0] {
			t.Fatalf("shape %v, strides %v: the last element is %v, and %v when read alone: %v",
				tensor.Shape, tensor.strides, values[n-1], last[0], err)
		}
	}
}

// tensorsIn finds the tensors in an unpickled value. Containers may contain
// themselves.
func tensorsIn(v any, seen map[any]bool, found map[*Tensor]bool) {
	switch v.(type) {
	case *Dict, *List, *Record, *Tensor:
		if seen[v] {
			return
		}
		seen[v] = true
	}
	switch v := v.(type) {
	case *Tensor:
		found[v] = true
	case *Dict:
		for _, p := range v.Pairs {
			tensorsIn(p.Value, seen, found)
		}
	case *List:
		for _, item := range v.Items {
			tensorsIn(item, seen, found)
		}
	case *Record:
		tensorsIn(v.State, seen, found)
	}
}

func FuzzSafetensors(f *testing.F) {
	whole := statetest.Safetensors(map[string]statetest.Tensor{
		"a": statetest.Float32([]float32{1, 2, 3, 4, 5, 6}, 2, 3),
		"b": {Type: "BF16", Shape: []int{}, Bytes: []byte{0x80, 0x3f}},
		"c": {Type: "I64", Shape: []int{0}},
	})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(statetest.SafetensorsOf(`{"x": {"dtype": "F16", "shape": [1099511627776], "data_offsets": [0, 4]}}`, make([]byte, 4)))
	f.Add(statetest.SafetensorsOf(`{"x": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}, "y": null}`, make([]byte, 16)))
	f.Add(bytes.Repeat([]byte{0xff}, 9))
	const a, b = `"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}`, `"b": {"dtype": "U8", "shape": [2], "data_offsets": [`
	f.Add(statetest.SafetensorsOf("{"+a+", "+b+"2, 4]}}", make([]byte, 4)))
	f.Add(statetest.SafetensorsOf("{"+a+", "+b+"1, 3]}}", make([]byte, 3))) // overlap
	f.Add(statetest.SafetensorsOf("{"+a+", "+b+"3, 5]}}", make([]byte, 5))) // a hole
	f.Add(statetest.SafetensorsOf("{"+a+"}", make([]byte, 5)))              // more at the end
	f.Add(statetest.SafetensorsOf("{"+a+", "+a+"}", make([]byte, 2)))       // a name twice
	f.Add(statetest.SafetensorsOf(`{"__metadata__": {"format": "pt"}, "a": {"dtype": "U8", "shape": [null], "data_offsets": [0]}}`, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		within(t, len(file), func() {
			tensors, err := readSafetensors(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				return
			}
			stored := 0
			for _, tensor := range tensors {
				stored += tensor.NumElements() * tensor.DType.Size
				readAll(t, tensor)
			}
			if header := int(binary.LittleEndian.Uint64(file)); 8+header+stored != len(file) {
				t.Fatalf("%d bytes of tensors after a header of %d in a file of %d", stored, header, len(file))
			}
		})
	})
}

// seeds are pickles with one storage of 16 bytes.
func seeds(f *testing.F) []string {
	f.Helper()
	program := func(value any) string {
		file := statetest.Torch(value)
		begin := bytes.Index(file, []byte("\x80\x02"))
		end := bytes.Index(file, []byte("archive/byteorder"))
		text := string(file[begin:end])
		return text[:strings.LastIndex(text, ".")+1]
	}
	of := statetest.Float32([]float32{1, 2, 3, 4}, 4)
	view := func(offset int, shape, strides []int) statetest.View {
		return statetest.View{Of: &of, Offset: offset, Shape: shape, Strides: strides}
	}
	return []string{
		program(view(0, []int{2, 2}, []int{1, 2})),
		program(view(1, []int{3}, []int{0})),
		program(statetest.DictOf("LYZ", view(0, []int{2}, []int{1}), "CD3D", view(2, []int{2}, []int{1}))),
		program(statetest.DictOf(
			"state_dict", statetest.DictOf("encoder.0.weight", view(0, []int{2, 2}, []int{2, 1})),
			"hyper_parameters", statetest.DictOf("nhead", 4, "cfg", statetest.DictOf("dataset", statetest.DictOf("pad_length", 8))),
			"cfg_yaml", "model: {nhead: 4}\ndataset: {pad_length: 8}",
		)),
		program(statetest.Tuple{nil, true, 1, 0.5, "x", statetest.List{1}}),
		"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x05torch\x8c\x04Size\x93\x94)\x85R\x8a\x01\xff2\x86.",
		"]q\x00h\x00ah\x00a}\x94(K\x01K\x02uh\x01\x87.",
		"comegaconf.dictconfig\nDictConfig\n)\x81}X\x08\x00\x00\x00_contenth\x00sb.",
		"ccollections\nOrderedDict\n](K\x01K\x02\x86e\x85R.",
		"\x8b\xff\xff\xff\x7f.",
		"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
	}
}

// A pickle with a storage, as a checkpoint, and as a gene table.
func FuzzPickle(f *testing.F) {
	for _, program := range seeds(f) {
		f.Add(program, make([]byte, 16))
	}
	f.Fuzz(func(t *testing.T, program string, storage []byte) {
		file := statetest.TorchZip(program, storage)
		within(t, len(file), func() {
			value, err := readTorch(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				return
			}
			found := map[*Tensor]bool{}
			tensorsIn(value, map[any]bool{}, found)
			for tensor := range found {
				if tensor.NumElements()*tensor.DType.Size > len(storage) {
					t.Fatalf("shape %v of %s in %d bytes", tensor.Shape, tensor.DType.Name, len(storage))
				}
			}
			if len(found) < 4 { // every tensor may be as large as the storage
				for tensor := range found {
					readAll(t, tensor)
				}
			}
		})
		value, err := readTorch(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		config, hyper, _, err := new(Checkpoint).readLightning(value)
		if err != nil {
			return
		}
		if c, err := newConfig(config, hyper); err == nil && (c.NHead < 1 || c.PadLength < 1) {
			t.Fatalf("config %+v", c)
		}
	})
}

func FuzzGeneTable(f *testing.F) {
	for _, program := range seeds(f) {
		f.Add(program, make([]byte, 16))
	}
	f.Fuzz(func(t *testing.T, program string, storage []byte) {
		file := statetest.TorchZip(program, storage)
		within(t, len(file), func() {
			value, err := readTorch(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				return
			}
			g, err := newGeneTable(value, "fuzzed")
			if err != nil {
				return
			}
			if g.Len() == 0 || g.Dim == 0 || len(g.Names) != g.Len() {
				t.Fatalf("%d genes, %d wide, %q", g.Len(), g.Dim, g.Names)
			}
			row := make([]float32, g.Dim)
			for i := range g.Len() {
				if err := g.ReadRows(row, i, 1); err != nil {
					return
				}
			}
		})
	})
}

func FuzzTorchZip(f *testing.F) {
	model := statetest.NewModel(statetest.Dims{
		NGenes: 4, TokenDim: 2, EmSize: 2, DHid: 2, NHead: 1, NLayers: 1, OutputDim: 2, PadLength: 4,
	}, "none", false)
	whole := statetest.Torch(statetest.DictOf("LYZ", statetest.Float32([]float32{1, 2}, 2), "CD3D", statetest.Float32([]float32{3, 4}, 2)))
	f.Add(statetest.Torch(model.GeneTable()))
	f.Add(whole)
	f.Add(whole[:len(whole)-30])
	f.Add(whole[40:])
	f.Add(statetest.Zip("a/data.pkl", "N.", "data.pkl", "K\x01."))
	f.Add(statetest.Zip("a/data.pkl", "N.", "a/byteorder", "big"))
	f.Add([]byte("\x80\x02\x8a\x0a"))
	f.Fuzz(func(t *testing.T, file []byte) {
		within(t, len(file), func() {
			value, err := readTorch(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				return
			}
			found := map[*Tensor]bool{}
			tensorsIn(value, map[any]bool{}, found)
			for tensor := range found {
				if tensor.NumElements()*tensor.DType.Size > len(file) {
					t.Fatalf("shape %v of %s in a file of %d bytes", tensor.Shape, tensor.DType.Name, len(file))
				}
			}
		})
	})
}

// FuzzConfig reads text as a config.yaml. Aliases of YAML make much of a little:
// what they may is bounded by a number of its reader's, not by the text.
func FuzzConfig(f *testing.F) {
	f.Add(wholeConfig)
	f.Add(laughs)
	f.Add("model: &a {nhead: *a}")
	f.Add("model: {<<: [{nhead: 4}, {nhead: 8}], counts: yes}\ndataset: {pad_length: 0x40}")
	f.Add("model: {nhead: 9223372036854775808}\ndataset: {pad_length: 1e3}")
	f.Add("model: {nhead: 18446744073709551615, emsize: -9223372036854775809}")
	f.Add("? [model]\n: {nhead: 4}\n--- \ndataset: {}")
	f.Add("model: !!binary bmhlYWQ=\ndataset: !!set {pad_length}")
	f.Add("%YAML 1.2\n---\nmodel: {nhead: !!int '4', expression_encoding: !<tag:x> scale}\n")
	f.Fuzz(func(t *testing.T, text string) {
		statetest.Within(t, 64<<20, 1000, len(text), func() {
			read, err := parseYAML([]byte(text))
			if err != nil {
				if !errors.Is(err, ErrConfig) {
					t.Fatal(err)
				}
				return
			}
			c, err := newConfig(read, nil)
			if err != nil {
				if !errors.Is(err, ErrConfig) {
					t.Fatal(err)
				}
				return
			}
			for _, n := range []int{c.EmSize, c.DHid, c.NLayers, c.OutputDim, c.TokenDim, c.CLSTokenIdx, c.NHead - 1, c.PadLength - 1} {
				if n < 0 || n > 1<<24 {
					t.Fatalf("config %+v", c)
				}
			}
			switch c.ExpressionEncoding {
			case modeldir.SoftBins, modeldir.Scale, modeldir.NoExpression:
			default:
				t.Fatalf("encoding %q", c.ExpressionEncoding)
			}
		})
	})
}

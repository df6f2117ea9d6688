package convert_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"github.com/se600m/se600m-go/gocore/ort"
	"google.golang.org/protobuf/proto"
)

// graph reads a graph of a converted model.
func graph(t *testing.T, dir string, v modeldir.Variant) *onnxpb.GraphProto {
	t.Helper()
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal([]byte(read(t, filepath.Join(dir, v.File()))), model); err != nil {
		t.Fatal(err)
	}
	return model.Graph
}

// stored reads a tensor of a graph from its external data file.
func stored(t *testing.T, dir string, g *onnxpb.GraphProto, name string) (shape []int64, values []float32) {
	t.Helper()
	for _, i := range g.Initializer {
		if i.GetName() != name {
			continue
		}
		place := map[string]string{}
		for _, e := range i.ExternalData {
			place[e.GetKey()] = e.GetValue()
		}
		offset, err := strconv.Atoi(place["offset"])
		if err != nil {
			t.Fatal(err)
		}
		length, err := strconv.Atoi(place["length"])
		if err != nil {
			t.Fatal(err)
		}
		content := read(t, filepath.Join(dir, place["location"]))[offset : offset+length]
		for at := 0; at < length; at += 4 {
			values = append(values, math.Float32frombits(binary.LittleEndian.Uint32([]byte(content[at:at+4]))))
		}
		return i.Dims, values
	}
	t.Fatalf("no tensor %q in the graph", name)
	return nil, nil
}

// token is SiLU(LayerNorm(Linear(row)))·sqrt(emsize) in float64; under "scale"
// it is the product with the weights alone.
func token(m *statetest.Model, row []float32, normalised bool) []float64 {
	weight, bias := m.Tensors["encoder.0.weight"].Values(), m.Tensors["encoder.0.bias"].Values()
	gain, shift := m.Tensors["encoder.1.weight"].Values(), m.Tensors["encoder.1.bias"].Values()
	length := 1.0
	if normalised {
		length = 0
		for _, v := range row {
			length += float64(v) * float64(v)
		}
		length = max(math.Sqrt(length), 1e-12)
	}
	out := make([]float64, m.EmSize)
	for i := range out {
		for j, v := range row {
			out[i] += float64(weight[i*m.TokenDim+j]) * float64(v) / length
		}
	}
	if m.Encoding == "scale" {
		return out
	}
	var mean, variance float64
	for i := range out {
		out[i] += float64(bias[i])
		mean += out[i] / float64(m.EmSize)
	}
	for _, v := range out {
		variance += (v - mean) * (v - mean) / float64(m.EmSize)
	}
	for i, v := range out {
		x := (v-mean)/math.Sqrt(variance+1e-5)*float64(gain[i]) + float64(shift[i])
		out[i] = x / (1 + math.Exp(-x)) * math.Sqrt(float64(m.EmSize))
	}
	return out
}

func TestFoldedTable(t *testing.T) {
	statetest.NeedRuntime(t)
	large := statetest.Small
	large.NGenes = 1025 // one more than are folded at a time
	for _, c := range []struct {
		encoding string
		dataset  bool
		dims     statetest.Dims
	}{
		{"soft-bins", true, statetest.Small}, {"soft-bins", false, large}, {"scale", true, statetest.Small}, {"none", true, statetest.Small},
	} {
		t.Run(fmt.Sprintf("%s, %d genes, dataset token %v", c.encoding, c.dims.NGenes, c.dataset), func(t *testing.T) {
			m := statetest.NewModel(c.dims, c.encoding, c.dataset)
			clear(m.Table[5]) // a row of zeros stays one
			dst := filepath.Join(t.TempDir(), "converted")
			if err := convert.Convert(t.Context(), folder(t, m), dst, convert.Options{}); err != nil {
				t.Fatal(err)
			}
			shape, folded := stored(t, dst, graph(t, dst, modeldir.Dense), "folded")
			if len(shape) != 2 || shape[0] != int64(m.NGenes+2) || shape[1] != int64(m.EmSize) {
				t.Fatalf("shape %v", shape)
			}
			want := func(row int) []float64 {
				switch {
				case row < m.NGenes:
					return token(m, m.Table[row], true)
				case row == m.NGenes:
					return token(m, m.Tensors["cls_token"].Values(), false)
				case c.dataset:
					return token(m, m.Tensors["dataset_token"].Values(), false)
				}
				return make([]float64, m.EmSize)
			}
			var worst float64
			for row := range m.NGenes + 2 {
				for i, v := range want(row) {
					worst = max(worst, math.Abs(float64(folded[row*m.EmSize+i])-v))
				}
			}
			// Tokens are of size 10; float32 has 6e-7 of that, and a sum of 12
			// products and a LayerNorm come before.
			if worst > 1e-5 {
				t.Errorf("off by %g from float64", worst)
			}
		})
	}
}

func TestWeightsAreTransposed(t *testing.T) {
	statetest.NeedRuntime(t)
	m := statetest.NewModel(statetest.Small, "soft-bins", true)
	dst := filepath.Join(t.TempDir(), "converted")
	if err := convert.Convert(t.Context(), folder(t, m), dst, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	shape, got := stored(t, dst, graph(t, dst, modeldir.Dense), "decoder.1.weight")
	want := m.Tensors["decoder.1.weight"].Values()
	if len(shape) != 2 || shape[0] != int64(m.EmSize) || shape[1] != int64(m.OutputDim) {
		t.Fatalf("shape %v, want [in, out]", shape)
	}
	for in := range m.EmSize {
		for out := range m.OutputDim {
			if got[in*m.OutputDim+out] != want[out*m.EmSize+in] {
				t.Fatalf("element %d, %d: %v, want %v", in, out, got[in*m.OutputDim+out], want[out*m.EmSize+in])
			}
		}
	}
}

// Every graph that a conversion writes opens in ONNX Runtime, with every
// encoding, with and without a dataset token.
func TestGraphsOpen(t *testing.T) {
	statetest.NeedRuntime(t)
	cpu, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"soft-bins", "scale", "none"} {
		for _, dataset := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, dataset token %v", encoding, dataset), func(t *testing.T) {
				m := statetest.NewModel(statetest.Small, encoding, dataset)
				dst := filepath.Join(t.TempDir(), "converted")
				if err := convert.Convert(t.Context(), folder(t, m), dst, convert.Options{}); err != nil {
					t.Fatal(err)
				}
				paths, err := filepath.Glob(filepath.Join(dst, "*.onnx"))
				if err != nil || len(paths) < 3 {
					t.Fatalf("graphs %q, %v", paths, err)
				}
				for _, path := range paths {
					model := &onnxpb.ModelProto{}
					text, err := os.ReadFile(path)
					if err == nil {
						err = proto.Unmarshal(text, model)
					}
					if err != nil {
						t.Fatal(err)
					}
					o := ort.SessionOptions{Provider: cpu, Threads: 1}
					for _, in := range model.Graph.Input {
						o.Inputs = append(o.Inputs, in.GetName())
					}
					for _, out := range model.Graph.Output {
						o.Outputs = append(o.Outputs, out.GetName())
					}
					s, err := ort.NewSession(path, o)
					if err != nil {
						t.Errorf("%s: %v", filepath.Base(path), err)
						continue
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

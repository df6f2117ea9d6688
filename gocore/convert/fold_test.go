package convert_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// stored reads a tensor of a converted model.
func stored(t *testing.T, dir, name string) (shape []int, values []float32) {
	t.Helper()
	config, _, err := modeldir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := modeldir.ReadIndex(dir, modeldir.Float32, config)
	if err != nil {
		t.Fatal(err)
	}
	values, err = weights[name].Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return weights[name].Shape, values
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
			shape, folded := stored(t, dst, modeldir.FoldedTable)
			if len(shape) != 2 || shape[0] != m.NGenes+2 || shape[1] != m.EmSize {
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
	shape, got := stored(t, dst, "decoder.1.weight")
	want := m.Tensors["decoder.1.weight"].Values()
	if len(shape) != 2 || shape[0] != m.EmSize || shape[1] != m.OutputDim {
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

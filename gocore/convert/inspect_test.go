package convert_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// These need no ONNX Runtime but where values are looked at: a checkpoint that
// does not fit is refused before anything is computed.
func TestTensorsThatDoNotFit(t *testing.T) {
	type model = statetest.Model
	drop := func(name string) func(*model) { return func(m *model) { delete(m.Tensors, name) } }
	shape := func(name string, shape ...int) func(*model) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return func(m *model) { m.Tensors[name] = statetest.Float32(make([]float32, n), shape...) }
	}
	for _, c := range []struct {
		name  string
		spoil func(*model)
		says  string
	}{
		{"no projection", drop("encoder.0.weight"), `"encoder.0.weight" is missing`},
		{"no layers", func(m *model) {
			for name := range m.Tensors {
				if strings.HasPrefix(name, "transformer_encoder.") {
					delete(m.Tensors, name)
				}
			}
		}, `"transformer_encoder.layers.0.linear1.weight" is missing`},
		{"no head", drop("decoder.1.weight"), `"decoder.1.weight" is missing`},
		{"a bias of a layer", drop("transformer_encoder.layers.1.norm2.bias"), `"transformer_encoder.layers.1.norm2.bias" is missing`},
		{"no bins", drop("bin_encoder.weight"), `"bin_encoder.weight" is missing`},
		{"no dataset token", drop("dataset_token"), `"dataset_token" is missing`},
		{"no dataset embedder", drop("dataset_embedder.weight"), `"dataset_embedder.weight" is missing`},
		{"a layer too far", shape("transformer_encoder.layers.99999.norm1.bias", 16), "layers.99999"},
		{"a layer apart", shape("transformer_encoder.layers.7.norm1.bias", 16), "is missing"},
		{"a projection of one dimension", shape("encoder.0.weight", 12), `"encoder.0.weight" has shape [12]`},
		{"another width", shape("transformer_encoder.layers.0.qkv_proj.weight", 16, 16), "has shape [16 16], but [48 16] is needed"},
		{"no width", shape("encoder.0.weight", 0, 12), "model.emsize is 16, but the tensors have 0"},
		{"no hidden width", func(m *model) {
			m.DHid = 0
			for i := range m.NLayers {
				prefix := fmt.Sprintf("transformer_encoder.layers.%d.", i)
				shape(prefix+"linear1.weight", 0, 16)(m)
				shape(prefix+"linear1.bias", 0)(m)
				shape(prefix+"linear2.weight", 16, 0)(m)
			}
		}, "d_hid"},
		{"heads that do not divide", func(m *model) { m.NHead = 5 }, "emsize 16 is not a multiple of nhead 5"},
		{"a pad length of one", func(m *model) { m.PadLength = 1 }, "pad_length is 1"},
		{"a config of another model", func(m *model) { m.OutputDim = 11 }, "model.output_dim is 11, but the tensors have 10"},
		{"a table of another model", func(m *model) {
			m.TokenDim = 13
			for i := range m.Table {
				m.Table[i] = make([]float32, 13)
			}
		}, "token_dim is 13, but the tensors have 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := statetest.NewModel(statetest.Small, "soft-bins", true)
			c.spoil(m)
			dir := t.TempDir()
			err := convert.Convert(t.Context(), folder(t, m), filepath.Join(dir, "converted"), convert.Options{})
			if !errors.Is(err, convert.ErrTensors) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestValuesThatAreNoNumbers(t *testing.T) {
	statetest.NeedRuntime(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		name  string
		spoil func(*statetest.Model)
		says  string
	}{
		{"a weight", func(m *statetest.Model) {
			values := m.Tensors["decoder.1.weight"].Values()
			values[21] = nan
			m.Tensors["decoder.1.weight"] = statetest.Float32(values, m.OutputDim, m.EmSize)
		}, `"decoder.1.weight" has the value NaN in element 21`},
		{"the projection", func(m *statetest.Model) {
			values := m.Tensors["encoder.0.bias"].Values()
			values[3] = inf
			m.Tensors["encoder.0.bias"] = statetest.Float32(values, m.EmSize)
		}, `"encoder.0.bias" has the value -Inf in element 3`},
		{"the gene table", func(m *statetest.Model) { m.Table[2][1] = nan }, "gene table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, dir := statetest.NewModel(statetest.Small, "soft-bins", true), t.TempDir()
			c.spoil(m)
			err := convert.Convert(t.Context(), folder(t, m), filepath.Join(dir, "converted"), convert.Options{})
			if !errors.Is(err, convert.ErrTensors) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// Some public copies of SE-600M's config state another number of layers.
func TestTheLayersAreThoseOfTheTensors(t *testing.T) {
	statetest.NeedRuntime(t)
	m := statetest.NewModel(statetest.Small, "none", false)
	src, dst := folder(t, m), filepath.Join(t.TempDir(), "converted")
	text := strings.Replace(m.Config(), "nlayers: 2", "nlayers: 8", 1)
	if err := os.WriteFile(filepath.Join(src, "config.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := convert.Convert(t.Context(), src, dst, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	config, _, err := modeldir.Read(dst)
	if err != nil || config.Dimensions.NLayers != 2 || len(config.Notes) != 1 || !strings.Contains(config.Notes[0], "8 layers, but the tensors have 2") {
		t.Errorf("%v, %+v", err, config)
	}
	if config.Dimensions.DatasetDim != 0 {
		t.Errorf("a dataset dimension of %d without a dataset token", config.Dimensions.DatasetDim)
	}
}

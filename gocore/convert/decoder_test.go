package convert_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// Inputs are read from the decoder's width: emsize 16, output_dim 10, the read
// depth if the configuration has so, and room for a dataset embedding of 10 or none.
func TestDecoderInputs(t *testing.T) {
	statetest.NeedRuntime(t)
	for _, c := range []struct {
		name      string
		width     int // 0: no decoder
		dataset   bool
		readDepth bool
		want      *modeldir.DecoderInputs
		says      string
	}{
		{"everything", 37, true, true, &modeldir.DecoderInputs{ReadDepth: true, DatasetDim: 10}, ""},
		{"a dataset token that the decoder does not see", 27, true, true, &modeldir.DecoderInputs{ReadDepth: true}, ""},
		{"no dataset token", 27, false, true, &modeldir.DecoderInputs{ReadDepth: true}, ""},
		{"no read depth", 36, true, false, &modeldir.DecoderInputs{DatasetDim: 10}, ""},
		{"neither", 26, false, false, &modeldir.DecoderInputs{}, ""},
		{"no decoder", 0, true, true, nil, ""},
		{"a read depth that the config denies", 37, true, false, nil, "37 wide"},
		{"a dataset embedding without a dataset token", 37, false, true, nil, "37 wide"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := statetest.NewModel(statetest.Small, "soft-bins", c.dataset)
			setDecoder(m, c.width)
			src, dst := folder(t, m), filepath.Join(t.TempDir(), "converted")
			if !c.readDepth {
				config := strings.Replace(m.Config(), "rda: true", "rda: false", 1)
				if err := os.WriteFile(filepath.Join(src, "config.yaml"), []byte(config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := convert.Convert(t.Context(), src, dst, convert.Options{})
			if c.says != "" {
				if !errors.Is(err, convert.ErrTensors) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %v saying %q", err, convert.ErrTensors, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			config, _, err := modeldir.Read(dst)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(config.Decoder, c.want) {
				t.Errorf("inputs %+v, want %+v", config.Decoder, c.want)
			}
			if _, has := config.Files[modeldir.DecoderWeightsFile]; has != (c.want != nil) {
				t.Errorf("%s is there: %t", modeldir.DecoderWeightsFile, has)
			}
			if info := config.Files[modeldir.GeneEmbeddingsFile]; info.Size != int64(4*m.NGenes*m.EmSize) {
				t.Errorf("%s has %d bytes", modeldir.GeneEmbeddingsFile, info.Size)
			}
		})
	}
}

// setDecoder gives a model a decoder of another width, or none.
func setDecoder(m *statetest.Model, width int) {
	for name := range m.Tensors {
		if strings.HasPrefix(name, "binary_decoder.") {
			delete(m.Tensors, name)
		}
	}
	if width == 0 {
		return
	}
	set := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		m.Tensors[name] = statetest.Float32(make([]float32, n), shape...)
	}
	for _, block := range []string{"binary_decoder.0", "binary_decoder.1"} {
		set(block+".intermediate_dense.weight", 2*width, width)
		set(block+".intermediate_dense.bias", 2*width)
		set(block+".dense.weight", width, 2*width)
		set(block+".dense.bias", width)
		set(block+".layer_norm.weight", width)
		set(block+".layer_norm.bias", width)
	}
	set("binary_decoder.2.weight", 1, width)
	set("binary_decoder.2.bias", 1)
}

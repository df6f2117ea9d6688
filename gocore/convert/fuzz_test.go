package convert

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

// FuzzFolder looks into a checkpoint whose weights have any header before some
// bytes of zeros, and any configuration. What is accepted can be converted: all
// tensors are there, and the dimensions are those of a model.
func FuzzFolder(f *testing.F) {
	m := statetest.NewModel(statetest.Dims{
		NGenes: 1, TokenDim: 2, EmSize: 2, DHid: 2, NHead: 1, NLayers: 1, OutputDim: 2, PadLength: 4,
	}, "scale", true)
	whole := statetest.Safetensors(m.Tensors)
	length := int(whole[0]) | int(whole[1])<<8 // of the header
	header, size := string(whole[8:8+length]), len(whole)-8-length
	genes := statetest.Torch(m.GeneTable())
	f.Add(header, uint16(size), m.Config())
	f.Add(header, uint16(size-1), m.Config())
	f.Add(header, uint16(size), "model: {nhead: 3, dataset_correction: false, rda: false}\ndataset: {pad_length: 16777216}")
	f.Add(header, uint16(size), "model: {nhead: 1, nlayers: 9}\ndataset: {pad_length: 1, cls_token_idx: 16777216}")
	f.Add(`{"transformer_encoder.layers.18446744073709551616.x": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}`, uint16(4), m.Config())
	f.Add(`{"encoder.0.weight": {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}}`, uint16(0), m.Config())
	f.Fuzz(func(t *testing.T, header string, nBytes uint16, config string) {
		dir := t.TempDir()
		weights := statetest.SafetensorsOf(header, make([]byte, nBytes))
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o644),
			os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644),
			os.WriteFile(filepath.Join(dir, "protein_embeddings.pt"), genes, 0o644),
		); err != nil {
			t.Fatal(err)
		}
		statetest.Within(t, 64<<20, 2000, len(weights)+len(config), func() {
			c, err := checkpoint.Open(dir, checkpoint.Options{})
			if err != nil {
				for _, kind := range []error{checkpoint.ErrMalformed, checkpoint.ErrUnsupported, checkpoint.ErrConfig} {
					if errors.Is(err, kind) {
						return
					}
				}
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			s, err := inspect(c)
			if err != nil {
				if !errors.Is(err, ErrTensors) {
					t.Fatal(err)
				}
				return
			}
			if err := s.dims.Check(); err != nil {
				t.Fatal(err)
			}
			for name, shape := range s.needed() {
				n := 1
				for _, d := range shape {
					n *= d
				}
				if tensor := s.Tensors[name]; tensor == nil || tensor.NumElements() != n || n > int(nBytes)*8 {
					t.Fatalf("tensor %q of shape %v: %+v", name, shape, tensor)
				}
			}
		})
	})
}

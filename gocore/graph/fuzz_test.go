package graph_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/se600m/se600m-go/gocore/graph"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// FuzzDirectory reads a converted model directory of any texts, with weights of
// some size, and puts all graphs together. ONNX Runtime would be given files of
// the directory alone, and places that are in them. testdata has a whole model.
func FuzzDirectory(f *testing.F) {
	const dims = `"n_genes": 1, "token_dim": 2, "emsize": 2, "d_hid": 2, "nhead": 1, "output_dim": 2, "pad_length": 4`
	config := func(layers, more string) string {
		return `{"format_version": 4, "expression_encoding": "scale", "dimensions": {"nlayers": ` + layers + `, ` + dims + `}` + more + `}`
	}
	f.Add(config("1", ""), "CD3D\n", `{"weights": {"a": {"file": "weights.bin", "element": "float32", "shape": [1]}}}`, `{}`, uint16(4))
	f.Add(config("4096", ""), "CD3D\n", `{"weights": {}}`, `{}`, uint16(4))
	f.Add(config("9223372036854775807", ""), "CD3D\n", `{"weights": {}}`, `{}`, uint16(4))
	f.Add(config("1", `, "files": {"../../../etc/passwd": {"size": 1}}`), "CD3D\n", `{"weights": {}}`, `{}`, uint16(4))
	f.Add(config("1", `, "files": {"/dev/zero": {"size": 0}}`), "CD3D\n", `{"weights": {}}`, `{}`, uint16(4))
	f.Add(config("1", `, "decoder": {"dataset_dim": -9223372036854775808}`), "CD3D\n", `{"weights": {}}`, `{}`, uint16(4))
	f.Add(config("1", ""), "CD3D\n", `{"weights": {"a": {"file": "/dev/zero", "element": "float32", "shape": [1]}}}`, `{}`, uint16(4))
	f.Add(config("1", ""), "CD3D\n", `{"weights": {"a": {"file": "weights.bin", "element": "float32", "shape": [4611686018427387904, 4]}}}`, `{}`, uint16(4))
	f.Add(config("1", ""), "CD3D\n", `{"weights": {"a": {"file": "weights.bin", "element": "float32", "shape": [1], "offset": 9223372036854775807}}}`, `{}`, uint16(4))
	f.Add(config("1", ""), "\n\n", `{"weights": null, "files": {"..": {}}}`, `[]`, uint16(0))
	f.Add(`{"format_version": 1e3}`, "", "", "", uint16(0))
	f.Fuzz(func(t *testing.T, config, genes, index, int8Index string, nBytes uint16) {
		dir, size := t.TempDir(), int64(nBytes%4096) // of weights, which several tensors may share
		for name, content := range map[string]string{
			modeldir.ConfigFile: config, modeldir.GenesFile: genes, modeldir.Float32.IndexFile(): index, modeldir.Int8.IndexFile(): int8Index,
			modeldir.WeightsFile: "", modeldir.Int8.LayersFile(): "", modeldir.SourceFile: "", modeldir.DecoderWeightsFile: "",
		} {
			path := filepath.Join(dir, name)
			err := os.WriteFile(path, []byte(content), 0o644)
			if err == nil && content == "" {
				err = os.Truncate(path, size)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		inputSize := len(config) + len(genes) + len(index) + len(int8Index)
		var c *modeldir.Config
		var err error
		statetest.Within(t, 4<<20, 1000, inputSize, func() { c, _, err = modeldir.Read(dir) })
		if err != nil {
			if !errors.Is(err, modeldir.ErrNotAModel) && !errors.Is(err, modeldir.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		for _, v := range variants {
			if v == modeldir.Decoder && c.Decoder == nil {
				continue
			}
			for _, form := range []modeldir.Form{usual, standard, inInt8} {
				var model []byte
				statetest.Within(t, 16<<20, 4000, inputSize, func() { model, err = graph.Model(dir, c, v, form) })
				if err == nil {
					checkPlaces(t, dir, model)
				} else if !errors.Is(err, modeldir.ErrNotAModel) && !errors.Is(err, graph.ErrLayers) && !errors.Is(err, onnx.ErrGraph) {
					t.Fatal(err)
				}
			}
		}
	})
}

// checkPlaces makes sure that a graph's external data lies in files of the
// directory.
func checkPlaces(t *testing.T, dir string, model []byte) {
	t.Helper()
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(model, m); err != nil {
		t.Fatal(err)
	}
	for _, tensor := range m.GetGraph().GetInitializer() {
		place := map[string]string{}
		for _, entry := range tensor.GetExternalData() {
			place[entry.GetKey()] = entry.GetValue()
		}
		if len(place) == 0 {
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, place["location"]))
		if err != nil || !info.Mode().IsRegular() || !filepath.IsLocal(place["location"]) {
			t.Fatalf("%q lies in %q: %v", tensor.GetName(), place["location"], err)
		}
		offset, err1 := strconv.ParseInt(place["offset"], 10, 64)
		length, err2 := strconv.ParseInt(place["length"], 10, 64)
		if err1 != nil || err2 != nil || offset < 0 || length < 0 || length > info.Size()-offset {
			t.Fatalf("%q lies at %v of %d", tensor.GetName(), place, info.Size())
		}
	}
}

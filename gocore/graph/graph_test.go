package graph_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/graph"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"github.com/se600m/se600m-go/gocore/ort"
	"google.golang.org/protobuf/proto"
)

var (
	usual    = modeldir.Form{Layers: modeldir.Float32}
	standard = modeldir.Form{Layers: modeldir.Float32, StandardOperators: true, PlainBins: true}
	inInt8   = modeldir.Form{Layers: modeldir.Int8}
	whole    = modeldir.Form{Layers: modeldir.Float32, WholeRead: true}
	variants = []modeldir.Variant{modeldir.Dense, modeldir.Weighted, modeldir.Contextual, modeldir.Attention, modeldir.Trace, modeldir.Decoder}
)

// converted converts a small random checkpoint.
func converted(t *testing.T, encoding string, dataset bool) (dir string, config *modeldir.Config) {
	t.Helper()
	statetest.NeedRuntime(t)
	src, dir := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "converted")
	if err := statetest.NewModel(statetest.Small, encoding, dataset).WriteFolder(src); err != nil {
		t.Fatal(err)
	}
	if err := convert.Convert(t.Context(), src, dir, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	config, _, err := modeldir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, config
}

// operators lists a graph's operators, those that are not standard by their
// domain, too.
func operators(t *testing.T, model []byte) (all, fused []string) {
	t.Helper()
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(model, m); err != nil {
		t.Fatal(err)
	}
	for _, node := range m.GetGraph().GetNode() {
		all = append(all, node.GetOpType())
		if node.GetDomain() != "" {
			fused = append(fused, node.GetOpType())
		}
	}
	return all, fused
}

// Every variant in every form opens in ONNX Runtime, under the names that the
// contract has, with every encoding, with and without a dataset token.
func TestGraphsOpen(t *testing.T) {
	cpu, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	names := func(tensors []modeldir.Tensor) (list []string) {
		for _, tensor := range tensors {
			list = append(list, tensor.Name)
		}
		return list
	}
	for _, encoding := range []string{"soft-bins", "scale", "none"} {
		for _, dataset := range []bool{true, false} {
			dir, config := converted(t, encoding, dataset)
			for _, v := range variants {
				for _, form := range []modeldir.Form{usual, standard, inInt8, whole} {
					t.Run(fmt.Sprintf("%s, dataset token %v, %s, %+v", encoding, dataset, v, form), func(t *testing.T) {
						model, err := graph.Model(dir, config, v, form)
						if err != nil {
							t.Fatal(err)
						}
						s, err := ort.NewSession(model, ort.SessionOptions{
							Name: string(v), Dir: dir, Provider: cpu, Threads: 1,
							Inputs: names(config.Inputs(v)), Outputs: names(config.Outputs(v)),
						})
						if err != nil {
							t.Fatal(err)
						}
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	}
}

func TestOperatorsOfForms(t *testing.T) {
	dir, config := converted(t, "soft-bins", true)
	ops := func(v modeldir.Variant, form modeldir.Form) (all, fused []string) {
		t.Helper()
		model, err := graph.Model(dir, config, v, form)
		if err != nil {
			t.Fatal(err)
		}
		return operators(t, model)
	}
	parted := standard
	parted.LayersPerPart = 1
	for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted, modeldir.Contextual} {
		all, fused := ops(v, usual)
		if !slices.Contains(all, "Unique") || !slices.Contains(fused, "MultiHeadAttention") {
			t.Errorf("%s: operators %q", v, all)
		}
		if all, fused = ops(v, standard); len(fused) > 0 || slices.Contains(all, "Unique") {
			t.Errorf("%s in standard operators: %q", v, all)
		}
		if all, _ = ops(v, modeldir.Form{Layers: modeldir.Float32, PlainBins: true}); slices.Contains(all, "Unique") {
			t.Errorf("%s with plain bins: %q", v, all)
		}
		// Pauses lie between layers.
		if _, fused = ops(v, parted); len(fused) != config.Dimensions.NLayers-1 || fused[0] != "SampleOp" {
			t.Errorf("%s in parts: %q", v, fused)
		}
		if _, fused = ops(v, inInt8); !slices.Contains(fused, "MatMulIntegerToFloat") {
			t.Errorf("%s in int8: %q", v, fused)
		}
	}
	for _, v := range []modeldir.Variant{modeldir.Trace, modeldir.Decoder} {
		for _, form := range []modeldir.Form{usual, inInt8, parted} {
			if _, fused := ops(v, form); len(fused) > 0 {
				t.Errorf("%s in %+v: %q", v, form, fused)
			}
		}
	}
}

// listed is what a folder has.
func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Weights in 8 bits are written when they are first needed, whole, and then
// found.
func TestInt8IsMadeWhenNeeded(t *testing.T) {
	dir, config := converted(t, "soft-bins", true)
	before := listed(t, dir)
	for _, v := range []modeldir.Variant{modeldir.Trace, modeldir.Decoder} {
		if _, err := graph.Model(dir, config, v, inInt8); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := graph.Model(dir, config, modeldir.Dense, usual); err != nil || !slices.Equal(listed(t, dir), before) {
		t.Errorf("nothing needed them: %q, %v", listed(t, dir), err)
	}
	if _, err := graph.Model(dir, config, modeldir.Dense, inInt8); err != nil {
		t.Fatal(err)
	}
	if want := append([]string{"int8.bin", "int8.json"}, before...); len(listed(t, dir)) != len(want) {
		t.Errorf("the folder has %q", listed(t, dir))
	}
	made := stat(t, dir)
	if _, err := graph.Model(dir, config, modeldir.Weighted, inInt8); err != nil || !os.SameFile(stat(t, dir), made) {
		t.Errorf("made again, or %v", err)
	}
	if again, _, err := modeldir.Read(dir); err != nil || again.Checksum != config.Checksum {
		t.Errorf("the model is %q, it was %q, %v", again.Checksum, config.Checksum, err)
	}
}

func stat(t *testing.T, dir string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, modeldir.Int8.LayersFile()))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// What is not whole, or another model's, is made again.
func TestInt8ThatIsNotWhole(t *testing.T) {
	for name, spoil := range map[string]func(bin, index string) error{
		"weights cut off":   func(bin, _ string) error { return os.Truncate(bin, 100) },
		"weights missing":   func(bin, _ string) error { return os.Remove(bin) },
		"index missing":     func(_, index string) error { return os.Remove(index) },
		"index cut off":     func(_, index string) error { return os.Truncate(index, 10) },
		"of another model":  func(_, index string) error { return replace(index, `"checksum":"`, `"checksum":"0`) },
		"a file elsewhere":  func(_, index string) error { return replace(index, `{"int8.bin":{`, `{"../int8.bin":{`) },
		"nothing is spoilt": func(_, _ string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir, config := converted(t, "none", false)
			bin, index := filepath.Join(dir, "int8.bin"), filepath.Join(dir, "int8.json")
			if _, err := graph.Model(dir, config, modeldir.Dense, inInt8); err != nil {
				t.Fatal(err)
			}
			read := func() string {
				content, err := os.ReadFile(bin)
				text, err2 := os.ReadFile(index)
				if err := errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				return string(content) + string(text)
			}
			want := read()
			if err := spoil(bin, index); err != nil {
				t.Fatal(err)
			}
			if _, err := graph.Model(dir, config, modeldir.Dense, inInt8); err != nil || read() != want {
				t.Errorf("not as it was, or %v", err)
			}
		})
	}
}

func replace(path, from, to string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644)
}

// Where a folder can't be written to, the error says so and the way out, and
// nothing half-written stays.
func TestInt8CannotBeWritten(t *testing.T) {
	dir, config := converted(t, "none", false)
	// In the way of a rename, whoever runs the tests.
	if err := os.MkdirAll(filepath.Join(dir, "int8.bin", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := listed(t, dir)
	_, err := graph.Model(dir, config, modeldir.Dense, inInt8)
	if !errors.Is(err, graph.ErrLayers) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "as a user who may write there") {
		t.Errorf("got %v", err)
	}
	if after := listed(t, dir); !slices.Equal(after, before) {
		t.Errorf("the folder has %q, it had %q", after, before)
	}
}

// Several openings at once write the same, and all can be used.
func TestInt8IsMadeBySeveral(t *testing.T) {
	dir, config := converted(t, "none", true)
	models := make([][]byte, 8)
	var group sync.WaitGroup
	for i := range models {
		group.Go(func() {
			var err error
			if models[i], err = graph.Model(dir, config, modeldir.Dense, inInt8); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, m := range models {
		if !slices.Equal(m, models[0]) {
			t.Error("not the same graph")
		}
	}
	if names := listed(t, dir); slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "unfinished") }) {
		t.Errorf("left over: %q", names)
	}
}

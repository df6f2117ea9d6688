package embed

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// hot is a model with large numbers between a layer's two products, and large
// weights in its expression decoder (whose numbers the CPU keeps in float32):
// float32 has them, float16 does not.
func hot(t *testing.T) *Model {
	t.Helper()
	statetest.NeedRuntime(t)
	drawn := statetest.NewModel(statetest.Small, "soft-bins", true)
	for name, factor := range map[string]float32{
		"transformer_encoder.layers.0.linear1.weight": 5e4, "binary_decoder.0.intermediate_dense.weight": 1e6,
	} {
		values := drawn.Tensors[name].Values()
		for i := range values {
			values[i] *= factor
		}
		drawn.Tensors[name] = statetest.Float32(values, drawn.Tensors[name].Shape...)
	}
	src, dir := filepath.Join(t.TempDir(), "hot"), filepath.Join(t.TempDir(), "converted")
	if err := errors.Join(drawn.WriteFolder(src), convert.Convert(t.Context(), src, dir, convert.Options{})); err != nil {
		t.Fatal(err)
	}
	return OpenConverted(t, dir)
}

// What overflows in fp16 is an error that names the way out, and is no result in
// any task; in fp32 all of it is finite.
func TestOverflow(t *testing.T) {
	m := hot(t)
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	defer m.end()
	d := m.Config.Dimensions
	tasks := map[string]func(*lane) ([]float32, error){
		"embedding": func(l *lane) ([]float32, error) {
			out := Output{Embedding: make([]float32, 2*d.OutputDim), Dataset: make([]float32, 2*d.DatasetDim)}
			err := embedBatch(t.Context(), l, someSentences(m, false), out)
			return slices.Concat(out.Embedding, out.Dataset), err
		},
		"contextual": func(l *lane) ([]float32, error) {
			b := someSentences(m, true)
			out := Contextual{Places: Places{Slots: b.Length, GeneIndices: make([]int32, 2*b.Length)}, Embeddings: make([]float32, 2*b.Length*d.EmSize)}
			return out.Embeddings, m.contextualBatch(t.Context(), l, b, out)
		},
		"expression": func(l *lane) ([]float32, error) {
			genes, out := []int32{0, 1, 2}, make([]float32, 2*3)
			ask := &Decode{
				NCells: 2, Embedding: slices.Repeat([]float32{1}, 2*d.OutputDim), ReadDepth: make([]float32, 2),
				Dataset: make([]float32, 2*d.DatasetDim), Genes: genes,
			}
			return out, ask.decodeBlock(t.Context(), l, block{0, 2, 0, 3, slices.Repeat([]float32{1}, 3*d.EmSize)}, out)
		},
	}
	for name, task := range tasks {
		t.Run(name, func(t *testing.T) {
			l := laneOf(m, 1)
			values, err := task(l)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					t.Fatalf("in fp32: %v", values)
				}
			}
			l.form = modeldir.Form{Layers: modeldir.Float16, PlainBins: true, Folded: true, FusedNorm: true}
			values, err = task(l)
			if !errors.Is(err, ErrOverflow) || !strings.Contains(err.Error(), `cell 0: `) ||
				!strings.Contains(err.Error(), `use precision="bf16"`) {
				t.Errorf("got %v", err)
			}
			for _, v := range values {
				if v-v != 0 {
					t.Fatalf("written: %v", values)
				}
			}
		})
	}
}

// Sentences that only fill a batch up can't fail it.
func TestOverflowOfNoCell(t *testing.T) {
	m := hot(t)
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	defer m.end()
	l := laneOf(m, 1)
	l.form = modeldir.Form{Layers: modeldir.Float16, PlainBins: true, Folded: true, FusedNorm: true}
	b := someSentences(m, false)
	b = &batch.Batch{Length: b.Length, GeneIndices: b.GeneIndices, ExpressionValues: b.ExpressionValues}
	if err := embedBatch(t.Context(), l, b, Output{}); err != nil {
		t.Error(err)
	}
}

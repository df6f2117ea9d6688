package embed

import (
	"fmt"
	"math"
	"testing"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// someSentences are two of 9 slots.
func someSentences(m *Model, weighted bool) *batch.Batch { return sentencesOf(m, 9, weighted) }

// sentencesOf are two of some length.
func sentencesOf(m *Model, length int, weighted bool) *batch.Batch {
	b := &batch.Batch{Rows: []int{0, 1}, Length: length}
	for i := range len(b.Rows) * b.Length {
		token := int32(i % int(m.Vocabulary.CLS()))
		if i%b.Length == 0 {
			token = m.Vocabulary.CLS()
		}
		b.GeneIndices = append(b.GeneIndices, token)
		b.ExpressionValues = append(b.ExpressionValues, float32(math.Abs(math.Sin(float64(i)))))
		if weighted {
			b.Multiplicity = append(b.Multiplicity, float32(1+i%3))
		}
	}
	return b
}

// Every form of a graph computes the same: here on ONNX Runtime's own kernels.
func TestForms(t *testing.T) {
	usual := modeldir.Form{Layers: modeldir.Float32}
	for _, encoding := range []string{"soft-bins", "scale"} {
		m := OpenConverted(t, Converted(t, statetest.Small, encoding, true))
		for _, c := range []struct {
			form modeldir.Form
			most float64
		}{
			{modeldir.Form{Layers: modeldir.Float32, PlainBins: true}, 1e-6},
			{modeldir.Form{Layers: modeldir.Float32, StandardOperators: true}, 1e-5},
			{modeldir.Form{Layers: modeldir.Float32, StandardOperators: true, PlainBins: true, WholeRead: true, LayersPerPart: 1}, 1e-5},
			{modeldir.Form{Layers: modeldir.Float32, WholeRead: true}, 1e-5},
			{modeldir.Form{Layers: modeldir.Float32, PlainBins: true, Folded: true, FusedNorm: true}, 1e-5},
			{modeldir.Form{Layers: modeldir.Float32, StandardOperators: true, PlainBins: true, Folded: true}, 1e-5},
			{modeldir.Form{Layers: modeldir.Float16, PlainBins: true, Folded: true, FusedNorm: true}, 0.02},
			{modeldir.Form{Layers: modeldir.Float16, StandardOperators: true, PlainBins: true, Folded: true}, 0.02},
			{modeldir.Form{Layers: modeldir.Int8}, 0.3}, // narrow layers average little of what rounding does
			{modeldir.Form{Layers: modeldir.Int8, PlainBins: true}, 0.3},
		} {
			for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted, modeldir.Contextual, modeldir.Attention} {
				t.Run(fmt.Sprintf("%s, %s, %+v", encoding, v, c.form), func(t *testing.T) {
					if err := m.begin(); err != nil {
						t.Fatal(err)
					}
					defer m.end()
					b := someSentences(m, v != modeldir.Dense)
					run := func(form modeldir.Form) map[string][]float32 {
						l := laneOf(m, 1)
						l.form = form
						results, err := l.run(t.Context(), v, modeldir.SentenceSizes(2, b.Length), l.inputs(v, b), nil)
						if err != nil {
							t.Fatal(err)
						}
						return results
					}
					want, got := run(usual), run(c.form)
					var worst float64
					for name, values := range want {
						for i, v := range values {
							worst = max(worst, math.Abs(float64(v-got[name][i])))
						}
					}
					if worst > c.most || c.form.Layers != modeldir.Float32 && worst == 0 {
						t.Errorf("%v apart", worst)
					}
					if c.form.Layers != modeldir.Float16 {
						return
					}
					for name, values := range want {
						if like := cosine(got[name], values); like < 0.9999 {
							t.Errorf("%s: cosine %v to fp32", name, like)
						}
					}
				})
			}
		}
	}
}

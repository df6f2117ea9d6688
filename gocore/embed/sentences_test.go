package embed_test

import (
	"math"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

func sentences(n, width int) embed.Sentences {
	return embed.Sentences{
		GeneIndices: make([]int32, n*width), ExpressionValues: make([]float32, n*width), Multiplicity: make([]float32, n*width),
		Lengths: make([]int32, n), Width: width,
	}
}

// given are the sentences of a data set, as they were tokenised.
func given(t *testing.T, m *embed.Model, c *embed.Cells) *embed.Given {
	t.Helper()
	n := c.Matrix.NCells()
	s := sentences(n, m.Config.Dimensions.PadLength)
	if _, err := m.Tokenize(t.Context(), c, s); err != nil {
		t.Fatal(err)
	}
	return &embed.Given{
		N: n, Length: s.Width, GeneIndices: s.GeneIndices, ExpressionValues: s.ExpressionValues, Multiplicity: s.Multiplicity, Threads: 2,
	}
}

// apart is the largest difference of two results.
func apart(a, b embed.Output) float64 {
	var worst float64
	for i := range a.Embedding {
		worst = max(worst, math.Abs(float64(a.Embedding[i]-b.Embedding[i])))
	}
	for i := range a.Dataset {
		worst = max(worst, math.Abs(float64(a.Dataset[i]-b.Dataset[i])))
	}
	return worst
}

func TestTokenize(t *testing.T) {
	m, data := open(t, "none", false), draw(nCells, 10)
	const width = 25 // longer than any sentence
	for _, f := range fills {
		c := data.cells(t, 0, nCells)
		c.Fill = f.fill
		s := sentences(nCells, width)
		report, err := m.Tokenize(t.Context(), c, s)
		if err != nil || report.Fill != f.fill {
			t.Fatalf("%s: %+v, %v", f.name, report, err)
		}
		for cell := range nCells {
			at := cell * width
			if s.GeneIndices[at] != m.Vocabulary.CLS() {
				t.Fatalf("%s: cell %d begins with %d", f.name, cell, s.GeneIndices[at])
			}
			for i := range width {
				multiplicity, past := s.Multiplicity[at+i], i >= int(s.Lengths[cell])
				if past != (multiplicity == 0) || past && (s.GeneIndices[at+i] != m.Vocabulary.CLS() || s.ExpressionValues[at+i] != 0) {
					t.Fatalf("%s: cell %d of %d slots, slot %d: %d, %v, %v", f.name, cell, s.Lengths[cell], i,
						s.GeneIndices[at+i], s.ExpressionValues[at+i], multiplicity)
				}
			}
		}
	}
}

func TestEmbedSentencesAsEmbed(t *testing.T) {
	m := open(t, "soft-bins", true)
	for _, f := range fills {
		t.Run(f.name, func(t *testing.T) {
			c := draw(nCells, f.nGenes).cells(t, 0, nCells)
			c.Fill = f.fill
			want, _ := run(t, m, c)
			g := given(t, m, c)
			got := output(m, nCells)
			if err := m.EmbedSentences(t.Context(), g, got); err != nil {
				t.Fatal(err)
			}
			// Lengths differ where embed pads less, so sums are of another order.
			if worst := apart(got, want); worst > 1e-5 {
				t.Errorf("off by %g", worst)
			}
			for _, size := range []int{1, 3, 64, 1 << 40} {
				g.BatchSize = size
				again := output(m, nCells)
				if err := m.EmbedSentences(t.Context(), g, again); err != nil || !equal(again, got) {
					t.Errorf("batches of %d: other numbers, or %v", size, err)
				}
			}
		})
	}
}

func TestTheTraceAgrees(t *testing.T) {
	for _, encoding := range []string{"soft-bins", "scale", "none"} {
		for _, dataset := range []bool{true, false} {
			t.Run(encoding, func(t *testing.T) {
				m := open(t, encoding, dataset)
				c := draw(6, 10).cells(t, 0, 6) // a panel: multiplicities count
				g := given(t, m, c)
				g.GeneIndices[2] = m.Vocabulary.CLS() // it may stand elsewhere, too
				want, got := output(m, g.N), output(m, g.N)
				if err := m.EmbedSentences(t.Context(), g, want); err != nil {
					t.Fatal(err)
				}
				stages := stagesFor(m, g)
				if err := m.Trace(t.Context(), g, got, stages); err != nil {
					t.Fatal(err)
				}
				// Nothing is folded or fused in the trace; the bound is float32's
				// after two layers and the head.
				if worst := apart(got, want); worst > 1e-5 {
					t.Errorf("off by %g", worst)
				}
				for i, stage := range m.Config.Stages() {
					if !slices.ContainsFunc(stages[i], func(v float32) bool { return v != 0 }) {
						t.Errorf("stage %q was not written", stage.Name)
					}
				}
			})
		}
	}
}

func stagesFor(m *embed.Model, g *embed.Given) [][]float32 {
	var stages [][]float32
	for _, stage := range m.Config.Stages() {
		size := 1
		for _, d := range stage.ShapeOf(modeldir.SentenceSizes(g.N, g.Length)) {
			size *= d
		}
		stages = append(stages, make([]float32, size))
	}
	return stages
}

// A token twice is the token once with multiplicity 2; multiplicity 0 is nothing.
func TestMultiplicity(t *testing.T) {
	m := open(t, "soft-bins", true)
	cls := m.Vocabulary.CLS()
	embedded := func(genes []int32, values, multiplicity []float32) embed.Output {
		out := output(m, 1)
		err := m.EmbedSentences(t.Context(), &embed.Given{
			N: 1, Length: len(genes), GeneIndices: genes, ExpressionValues: values, Multiplicity: multiplicity,
		}, out)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := embedded([]int32{cls, 5, 9, 9, 2}, []float32{3, 60, 10, 10, 0}, nil)
	for name, got := range map[string]embed.Output{
		"merged":           embedded([]int32{cls, 5, 9, 2}, []float32{3, 60, 10, 0}, []float32{1, 1, 2, 1}),
		"merged by halves": embedded([]int32{cls, 5, 9, 9, 2}, []float32{3, 60, 10, 10, 0}, []float32{1, 1, 0.5, 1.5, 1}),
		"padded":           embedded([]int32{cls, 5, 9, 9, 2, 7}, []float32{3, 60, 10, 10, 0, 90}, []float32{1, 1, 1, 1, 1, 0}),
		"in another order": embedded([]int32{cls, 9, 2, 5, 9}, []float32{3, 10, 0, 60, 10}, nil),
	} {
		if worst := apart(got, want); worst > 1e-5 {
			t.Errorf("%s: off by %g", name, worst)
		}
	}
	other := embedded([]int32{cls, 5, 9, 2}, []float32{3, 60, 10, 0}, nil)
	if apart(other, want) < 1e-3 {
		t.Error("a token once and twice is the same")
	}
}

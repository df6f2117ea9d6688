package embed

import (
	"math"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// wideVariable names the converted directory of a model of full size, such as one
// of random weights that tools/bench/checkpoints.py writes.
const wideVariable = "SE600M_WIDE_MODEL"

// The graph that GPUs run in fp16 gives the embedding of the fp32 graph, at
// full width and depth: here on ONNX Runtime's kernels for the CPU.
func TestHalfPrecisionAtFullWidth(t *testing.T) {
	statetest.NeedRuntime(t)
	dir := os.Getenv(wideVariable)
	if dir == "" {
		t.Skipf("needs a model of full size: %s names none", wideVariable)
	}
	m, err := Open(dir, "cpu", "fp32")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	defer m.end()
	for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted} {
		b := sentencesOf(m, 512, v == modeldir.Weighted)
		run := func(form modeldir.Form) []float32 {
			l := laneOf(m, runtime.NumCPU())
			l.form = form
			results, err := l.run(t.Context(), v, modeldir.SentenceSizes(2, b.Length), l.inputs(v, b), nil)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Clone(results[modeldir.CLS])
		}
		want := run(modeldir.Form{Layers: modeldir.Float32})
		got := run(modeldir.Form{Layers: modeldir.Float16, PlainBins: true, Folded: true, FusedNorm: true})
		width, least := m.Config.Dimensions.OutputDim, 1.0
		for at := 0; at < len(want); at += width {
			least = min(least, cosine(got[at:at+width], want[at:at+width]))
		}
		t.Logf("%s: least cosine %.8f", v, least)
		if least < 0.9999 {
			t.Errorf("%s: least cosine %v", v, least)
		}
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

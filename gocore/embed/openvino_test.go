package embed_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// ofLength converts a small random checkpoint whose sentences may have some
// length.
func ofLength(t *testing.T, padLength int) (dir string) {
	t.Helper()
	dims := statetest.Small
	dims.PadLength = padLength
	return embed.Converted(t, dims, "soft-bins", true)
}

func operators(t *testing.T, dir string, v modeldir.Variant) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, v.File()))
	if err != nil {
		t.Fatal(err)
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(text, model); err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, node := range model.GetGraph().GetNode() {
		if node.GetDomain() != "" {
			own = append(own, node.GetOpType())
		}
	}
	return own
}

// The twins have no fused operators, and compute what the others do: here on
// ONNX Runtime's own kernels.
func TestOpenVINOTwins(t *testing.T) {
	for _, c := range []struct {
		name      string
		padLength int
		pauses    int
	}{
		{"in one part", statetest.Small.PadLength, 0},
		{"a layer a part", 1 << 20, statetest.Small.NLayers - 1}, // sentences of that length are not made here
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := ofLength(t, c.padLength)
			for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted, modeldir.Contextual} {
				own := operators(t, dir, v.OpenVINO())
				if len(own) != c.pauses || slices.ContainsFunc(own, func(op string) bool { return op != "SampleOp" }) {
					t.Errorf("%s: operators %q, want %d pauses", v, own, c.pauses)
				}
				if len(operators(t, dir, v)) == 0 {
					t.Errorf("%s has no fused operators", v)
				}
			}
			for _, v := range []modeldir.Variant{modeldir.Decoder, modeldir.Trace} {
				if own := operators(t, dir, v); len(own) > 0 || v.OpenVINO() != v {
					t.Errorf("%s has the operators %q, and the twin %s", v, own, v.OpenVINO())
				}
			}
			for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted} {
				dir := ofLength(t, c.padLength) // the files change places
				want, got := embedGiven(t, dir, v, v), embedGiven(t, dir, v, v.OpenVINO())
				if a := apart(got, want); a > 1e-6 {
					t.Errorf("%s: %v apart", v, a)
				}
			}
		})
	}
}

// embedGiven embeds two sentences on a variant of the graph, with the file of
// another in its place.
func embedGiven(t *testing.T, dir string, v, file modeldir.Variant) embed.Output {
	t.Helper()
	m, err := embed.Open(dir, "cpu", "fp32")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := os.Rename(filepath.Join(dir, file.File()), filepath.Join(dir, v.File())); err != nil {
		t.Fatal(err)
	}
	const n, length = 2, 9
	g := &embed.Given{N: n, Length: length}
	for i := range n * length {
		token := int32(i % int(m.Vocabulary.CLS()))
		if i%length == 0 {
			token = m.Vocabulary.CLS()
		}
		g.GeneIndices = append(g.GeneIndices, token)
		g.ExpressionValues = append(g.ExpressionValues, float32(math.Abs(math.Sin(float64(i)))))
		if v == modeldir.Weighted {
			g.Multiplicity = append(g.Multiplicity, float32(1+i%3))
		}
	}
	out := output(m, n)
	if err := m.EmbedSentences(t.Context(), g, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayersPerPart(t *testing.T) {
	se600m := modeldir.Dimensions{EmSize: 2048, DHid: 2048, NHead: 16, NLayers: 16, PadLength: 2048}
	if n := se600m.LayersPerPart(); n != 2 {
		t.Errorf("%d layers a part at SE-600M's width", n)
	}
	narrow := modeldir.Dimensions{EmSize: 96, DHid: 96, NHead: 4, NLayers: 3, PadLength: 2048}
	if n := narrow.LayersPerPart(); n < narrow.NLayers {
		t.Errorf("%d layers a part of a narrow model", n)
	}
}

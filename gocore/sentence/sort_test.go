package sentence

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
)

func TestSortIsByKey(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, key := range map[string]func() uint64{
		"all bits":      random.Uint64,
		"highest digit": func() uint64 { return random.Uint64() << 55 },
		"lowest digit":  func() uint64 { return random.Uint64N(1 << 11) },
		"many ties":     func() uint64 { return random.Uint64N(3) << 30 },
		"all equal":     func() uint64 { return math.MaxUint64 },
		"extremes":      func() uint64 { return -random.Uint64N(2) },
		"counts": func() uint64 {
			return uint64(^math.Float32bits(float32(1+random.IntN(9))))<<32 | random.Uint64N(20_000)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Worker{} // one for all: what a shorter cell leaves must not return
			for _, n := range []int{0, 1, 2, 3, 100, 5000, 7, 3000} {
				w.candidates = w.candidates[:0]
				for i := range n {
					w.candidates = append(w.candidates, candidate{key(), int32(i), float32(i)})
				}
				want := slices.Clone(w.candidates)
				slices.SortStableFunc(want, func(a, b candidate) int { return cmp.Compare(a.key, b.key) })
				w.sort()
				if !slices.Equal(w.candidates, want) {
					t.Fatalf("%d candidates: got %v, want %v", n, w.candidates, want)
				}
			}
		})
	}
}

func TestWorkerOutlivesItsStamps(t *testing.T) {
	memory := func() Sentence {
		return Sentence{GeneIndices: make([]int32, 7), ExpressionValues: make([]float32, 7)}
	}
	row := &expression.Row{Columns: []int32{1, 4}, Values: []float32{2, 1}}
	for _, fill := range []Fill{Shared, Independent} {
		t.Run(fill.String(), func(t *testing.T) {
			plan, err := NewPlan([]int32{0, 1, 2, 3, 4, 5}, Options{PadLength: 7, CLS: 6, Fill: fill})
			if err != nil {
				t.Fatal(err)
			}
			w := plan.NewWorker()
			w.Tokenize(row, 0, memory()) // leaves the stamp 1
			w.stamp = math.MaxUint32 - 1
			for range 4 {
				out := memory()
				if cell := w.Tokenize(row, 0, out); cell.Length != 7 {
					t.Fatalf("length %d, want 7", cell.Length)
				}
				slices.Sort(out.GeneIndices)
				if want := []int32{0, 1, 2, 3, 4, 5, 6}; !slices.Equal(out.GeneIndices, want) {
					t.Fatalf("genes %v, want each once", out.GeneIndices)
				}
			}
		})
	}
}

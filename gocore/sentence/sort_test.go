package sentence

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSortIsByKey(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, key := range map[string]func() uint32{
		"all bits":      random.Uint32,
		"highest digit": func() uint32 { return random.Uint32() << 22 },
		"middle digit":  func() uint32 { return random.Uint32N(1<<11) << 11 },
		"lowest digit":  func() uint32 { return random.Uint32N(1 << 11) },
		"many ties":     func() uint32 { return random.Uint32N(3) << 21 },
		"all equal":     func() uint32 { return math.MaxUint32 },
		"extremes":      func() uint32 { return -random.Uint32N(2) },
		"values":        func() uint32 { return math.Float32bits(9) - math.Float32bits(9*(1-random.Float32())) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &sorter{} // one for all: what a shorter cell leaves must not return
			for _, n := range []int{0, 1, 2, 3, 100, 5000, 7, 3000} {
				s.items = s.items[:0]
				for i := range n {
					s.items = append(s.items, item{key(), int32(i)})
				}
				want := slices.Clone(s.items)
				slices.SortStableFunc(want, func(a, b item) int { return cmp.Compare(a.key, b.key) })
				s.sort()
				if !slices.Equal(s.items, want) {
					t.Fatalf("%d items: got %v, want %v", n, s.items, want)
				}
			}
		})
	}
}

package sentence

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestShuffle32IsOneToOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, key := range []uint32{0, 1, math.MaxUint32, random.Uint32(), random.Uint32()} {
		// Ranks, as plans have them, and numbers from the whole range.
		numbers := make([]uint32, 0, 1<<18)
		for i := range uint32(1 << 17) {
			numbers = append(numbers, i, random.Uint32())
		}
		slices.Sort(numbers)
		numbers = slices.Compact(numbers)
		images := make([]uint32, len(numbers))
		for i, x := range numbers {
			images[i] = shuffle32(x, key)
		}
		slices.Sort(images)
		if got := len(slices.Compact(images)); got != len(numbers) {
			t.Errorf("key %#x: %d numbers have %d images", key, len(numbers), got)
		}
	}
}

// chiSquare256 is Pearson's statistic over 256 equally likely bins. It has 255
// degrees of freedom; 255 ± 6·√(2·255) leaves room for chance on either side
// (a statistic that is far too small means numbers that avoid each other).
func chiSquare256(bins *[256]int, n int) (statistic, low, high float64) {
	want := float64(n) / 256
	for _, got := range bins {
		statistic += (float64(got) - want) * (float64(got) - want) / want
	}
	spread := 6 * math.Sqrt(2*255)
	return statistic, 255 - spread, 255 + spread
}

// Seeds, gene tokens and rows are small consecutive numbers: that is what the
// hash must spread, in its upper bits (which decide orders and draws) and in
// its lower ones (which shuffle32 is keyed with).
func TestHashIsUniform(t *testing.T) {
	const n = 1 << 16
	for name, hash := range map[string]func(i uint64) uint64{
		"second argument": func(i uint64) uint64 { return hash2(0, i) },
		"first argument":  func(i uint64) uint64 { return hash2(i, 0) },
		"both":            func(i uint64) uint64 { return hash2(i/256, i%256) },
		"shuffle32":       func(i uint64) uint64 { return uint64(shuffle32(uint32(i), 7)) * (1<<32 + 1) },
		"shuffle32 key":   func(i uint64) uint64 { return uint64(shuffle32(7, uint32(i))) * (1<<32 + 1) },
	} {
		for part, shift := range map[string]int{"upper": 56, "lower": 0} {
			t.Run(name+", "+part+" bits", func(t *testing.T) {
				var bins [256]int
				for i := range uint64(n) {
					bins[hash(i)>>shift&255]++
				}
				if got, low, high := chiSquare256(&bins, n); got < low || got > high {
					t.Errorf("chi-square %.1f, want %.1f to %.1f", got, low, high)
				}
			})
		}
	}
}

// Each bit of each argument turns about half of the result's bits.
func TestHashSpreadsEveryBit(t *testing.T) {
	const n = 2000
	random := rand.New(rand.NewPCG(5, 6))
	for bit := range 64 {
		var first, second int
		for range n {
			a, b := random.Uint64(), random.Uint64()
			first += bits.OnesCount64(hash2(a, b) ^ hash2(a^1<<bit, b))
			second += bits.OnesCount64(hash2(a, b) ^ hash2(a, b^1<<bit))
		}
		for name, turned := range map[string]int{"first": first, "second": second} {
			// A bit turns with probability 1/2: standard deviation √(64 n)/2, taken six times.
			if off := math.Abs(float64(turned) - 32*n); off > 6*math.Sqrt(64*n)/2 {
				t.Errorf("bit %d of the %s argument turns %.2f bits, want 32", bit, name, float64(turned)/n)
			}
		}
	}
}

func TestHashTellsItsArgumentsApart(t *testing.T) {
	if hash2(1, 2) == hash2(2, 1) {
		t.Error("hash2 is symmetric: a seed and a row could change places")
	}
	seen := map[uint64]bool{}
	for a := range uint64(256) {
		for b := range uint64(256) {
			seen[hash2(a, b)] = true
		}
	}
	if len(seen) != 1<<16 {
		t.Errorf("%d results for %d pairs", len(seen), 1<<16)
	}
}

func TestStreamBelow(t *testing.T) {
	const nDraws = 30_000
	for _, n := range []int{1, 2, 3, 7, 1000} {
		s := stream{key: 9}
		counts := make([]int, n)
		for range nDraws {
			drawn := s.below(n)
			if drawn < 0 || drawn >= n {
				t.Fatalf("below(%d) = %d", n, drawn)
			}
			counts[drawn]++
		}
		want := float64(nDraws) / float64(n)
		for value, got := range counts {
			if math.Abs(float64(got)-want) > 6*math.Sqrt(want) {
				t.Errorf("below(%d): %d came %d times, want about %.0f", n, value, got, want)
			}
		}
	}
	one, other := stream{key: 1}, stream{key: 2}
	first, second := make([]int, 20), make([]int, 20)
	for i := range first {
		first[i], second[i] = one.below(1000), other.below(1000)
	}
	if slices.Equal(first, second) || slices.Equal(first[1:], second[:19]) {
		t.Errorf("keys 1 and 2 draw %v and %v", first, second)
	}
}

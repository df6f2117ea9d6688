package embed

import (
	"math"
	"testing"
)

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		nValues int
		sizes   []int
		want    bool
	}{
		{6, []int{2, 3}, true},
		{1, []int{1, 1, 1}, true},
		{0, []int{0, 3}, true},
		{0, []int{3, 0}, true},
		{0, []int{math.MaxInt, 0, math.MaxInt}, true},
		{7, []int{2, 3}, false},
		{12, []int{2, 3}, false},
		{3, []int{2, 3}, false},
		{0, []int{2, 3}, false},
		{1, []int{0, 3}, false},
		{6, []int{-2, -3}, false},
		{0, []int{-1, 0}, false},
		// Products that overflow to the number of values.
		{0, []int{1 << 32, 1 << 32}, false},
		{0, []int{math.MinInt, 2}, false},
		{4, []int{1<<62 + 1, 4}, false},
	} {
		if got := holds(c.nValues, c.sizes...); got != c.want {
			t.Errorf("%d values for %v: %v", c.nValues, c.sizes, got)
		}
	}
}

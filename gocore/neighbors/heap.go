package neighbors

import (
	"cmp"
	"container/heap"
	"slices"
)

// candidate is a reference row that may be among the nearest of a query.
type candidate struct {
	distance float64
	row      int64
}

// byNearness orders candidates: by distance, then by row. No two are equal, so
// which ones are the nearest doesn't depend on the order in which they came.
func byNearness(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.row, b.row))
}

// kept holds the nearest candidates so far, the farthest of them on top of the
// heap. It is always full: at first of rows infinitely far away, which [Blank]
// writes.
type kept []candidate

func (k kept) Len() int           { return len(k) }
func (k kept) Less(i, j int) bool { return byNearness(k[i], k[j]) > 0 }
func (k kept) Swap(i, j int)      { k[i], k[j] = k[j], k[i] }
func (*kept) Push(any)            { panic("neighbors: a heap of fixed size") }
func (*kept) Pop() any            { panic("neighbors: a heap of fixed size") }

// load takes the nearest of a query so far, as [Add] writes them: what is
// sorted the other way round is a heap.
func (k kept) load(indices []int64, distances []float64) {
	for i := range k {
		last := len(k) - 1 - i
		k[last] = candidate{distance: distances[i], row: indices[i]}
	}
}

// store writes the nearest of a query, nearest first. It is no heap then.
func (k kept) store(indices []int64, distances []float64) {
	slices.SortFunc(k, byNearness)
	for i, c := range k {
		indices[i], distances[i] = c.row, c.distance
	}
}

// farthest is the distance that a candidate must not exceed.
func (k kept) farthest() float64 { return k[0].distance }

// offer takes a candidate in the place of the farthest, if it is nearer.
func (k *kept) offer(c candidate) {
	if byNearness(c, (*k)[0]) < 0 {
		(*k)[0] = c
		heap.Fix(k, 0)
	}
}

package neighbors

import (
	"context"
	"fmt"
	"math"
)

// Options of a search.
type Options struct {
	// K is how many nearest rows to find, at most as many as there are.
	K int
	// LeaveOutSelf: queries and reference are rows of the same set, and none is
	// its own neighbour.
	LeaveOutSelf bool
	// Threads to use; 0 means all cores.
	Threads int
	// Progress is told how many more queries are done, by one goroutine at a time.
	// What is done for a part of the reference counts as that part of the queries.
	Progress func(nQueries int)
}

// Nearest finds the K nearest reference rows of every query. Written are the
// rows' numbers and their cosine distances, [queries.N, K] row-major, nearest
// first, ties by the lower number.
//
// It fails with [ErrShape], [ErrOption], a [NotFiniteError], an error of ONNX
// Runtime, or ctx's error. What it has written then means nothing.
func Nearest(ctx context.Context, queries, reference Rows, o Options, indices []int64, distances []float64) error {
	s, err := newSearch(queries, reference, o)
	if err != nil {
		return err
	}
	if o.LeaveOutSelf && queries.N != reference.N {
		return fmt.Errorf("neighbors: %d queries are not the %d reference rows: %w", queries.N, reference.N, ErrShape)
	}
	most := reference.seen()
	if o.LeaveOutSelf {
		most--
	}
	if o.K > most {
		return fmt.Errorf("neighbors: K=%d is not from 1 to %d, the rows to choose from: %w", o.K, most, ErrOption)
	}
	Blank(indices, distances)
	return s.run(ctx, indices, distances)
}

// Add goes on with a search, of which this block of the reference was not a part
// yet: indices and distances are what [Blank] or the calls before have written,
// and are written anew. In what blocks and in which order a reference comes
// changes no bit of the result. As long as there were fewer than K rows, the
// last of the K are at an infinite distance.
//
// It fails as [Nearest] does.
func Add(ctx context.Context, queries, block Rows, o Options, indices []int64, distances []float64) error {
	s, err := newSearch(queries, block, o)
	if err != nil {
		return err
	}
	return s.run(ctx, indices, distances)
}

// Blank writes what has been found before a search begins.
func Blank(indices []int64, distances []float64) {
	for i := range indices {
		indices[i] = -1
	}
	for i := range distances {
		distances[i] = math.Inf(1)
	}
}

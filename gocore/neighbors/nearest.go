package neighbors

import (
	"context"
	"fmt"
)

// Options of a search.
type Options struct {
	// K is how many nearest rows to find, at most as many as there are.
	K int
	// LeaveOutSelf: queries and reference are the same cells, and none is its
	// own neighbour.
	LeaveOutSelf bool
	// Threads to use; 0 means all cores.
	Threads int
	// Progress is told how many more queries are done, by several goroutines.
	Progress func(nQueries int)
}

// Nearest finds the K nearest reference rows of every query. Written are the
// rows' numbers and their cosine distances, [queries.N, K] row-major, nearest
// first, ties by the lower number.
//
// It fails with [ErrShape], [ErrOption], a [NotFiniteError], or ctx's error.
func Nearest(ctx context.Context, queries, reference Rows, o Options, indices []int64, distances []float64) error {
	s, err := newSearch(queries, reference, nil, o)
	if err != nil {
		return err
	}
	return s.nearest(ctx, indices, distances)
}

func (s *search) nearest(ctx context.Context, indices []int64, distances []float64) error {
	if want := s.queries.N * s.K; len(indices) != want || len(distances) != want {
		return fmt.Errorf("neighbors: memory for %d indices and %d distances, %d are needed: %w",
			len(indices), len(distances), want, ErrShape)
	}
	return s.run(ctx, func() visitor {
		return func(query int, nearest []candidate) {
			at := query * s.K
			for i, c := range nearest {
				indices[at+i], distances[at+i] = int64(c.row), c.distance
			}
		}
	})
}

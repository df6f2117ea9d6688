package neighbors

// sieve finds the rows that can be among the nearest of a query by distances
// that are known within bounds.
type sieve struct {
	nearest kept // by distances in float64, of all rows that were settled
	// bounds are the K smallest distances that rows have at most: K rows are
	// within the largest of them, and what is certainly farther is ruled out.
	bounds kept
	open   []place // rows that are yet to be computed in float64
}

// place is a row of the block, and the least that its distance can be.
type place struct {
	least float64
	row   int
}

// begin takes what was found among other rows.
func (s *sieve) begin(indices []int64, distances []float64) {
	s.nearest.load(indices, distances)
	s.settled()
}

// limit is the distance that a row must not certainly exceed.
func (s *sieve) limit() float64 { return s.bounds.farthest() }

// take adds a row at a distance that may be off.
func (s *sieve) take(row int, distance, off float64) {
	if distance-off > s.limit() {
		return
	}
	s.open = append(s.open, place{distance - off, row})
	s.bounds.offer(candidate{distance + off, int64(row)})
}

func (s *sieve) full() bool { return len(s.open) == cap(s.open) }

// settled says that no row is open any more.
func (s *sieve) settled() {
	copy(s.bounds, s.nearest)
	s.open = s.open[:0]
}

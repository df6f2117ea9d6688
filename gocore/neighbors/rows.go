package neighbors

import (
	"errors"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/safego"
)

var (
	// ErrShape: rows, labels or memory for results disagree in size.
	ErrShape = errors.New("sizes disagree")
	// ErrOption: an option has a value that can't be.
	ErrOption = errors.New("invalid option")
	// ErrNotFinite: a value is NaN or infinite.
	ErrNotFinite = errors.New("value is not finite")
)

// Rows are embeddings, a row a cell.
type Rows struct {
	N, Width int
	Values   []float32 // [N, Width], row-major
}

func (r Rows) check(what string) error {
	if r.N < 1 || r.Width < 1 || len(r.Values)/r.Width != r.N || len(r.Values)%r.Width != 0 {
		return fmt.Errorf("neighbors: %s: %d values for [%d, %d], which must not be empty: %w",
			what, len(r.Values), r.N, r.Width, ErrShape)
	}
	return nil
}

func (r Rows) row(i int) []float32 { return r.Values[i*r.Width : (i+1)*r.Width] }

// NotFiniteError says where the first value is that is NaN or infinite. It
// wraps [ErrNotFinite].
type NotFiniteError struct {
	Reference   bool // in the reference, not in the queries
	Row, Column int
	Value       float32
}

func (e *NotFiniteError) Error() string {
	what := "queries"
	if e.Reference {
		what = "reference"
	}
	return fmt.Sprintf("neighbors: %s: row %d, column %d: value is %v", what, e.Row, e.Column, e.Value)
}

func (e *NotFiniteError) Unwrap() error { return ErrNotFinite }

// squaredNorms computes |row|² of some rows (nil: of all), 0 for the others.
// Nothing but a panic is an error.
func squaredNorms(r Rows, of []int, threads int) ([]float64, error) {
	n := count(of, r.N)
	norms := make([]float64, r.N)
	group := safego.NewGroup()
	for t := range threads {
		group.Go(func() error {
			for i := n * t / threads; i < n*(t+1)/threads; i++ {
				at := pick(of, i)
				row := r.row(at)
				norms[at] = dot(row, row)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("neighbors: %w", err)
	}
	return norms, nil
}

// requireFinite finds the first value that is not finite. Squares of float32
// values don't overflow float64, so the norms tell.
func requireFinite(r Rows, norms []float64, reference bool) error {
	for i, norm := range norms {
		if !math.IsNaN(norm) && !math.IsInf(norm, 0) {
			continue
		}
		for column, v := range r.row(i) {
			if v-v != 0 {
				return &NotFiniteError{Reference: reference, Row: i, Column: column, Value: v}
			}
		}
	}
	return nil
}

// dot is a product in float64. Its order of summation depends on nothing but
// the width, unlike that of gonum's kernels, which depends on the rows'
// addresses: equal rows must get equal distances.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// cosineDistance is computed so that a row is at distance 0 from its equals:
// the root of a square is exact.
func cosineDistance(product, squaredNormA, squaredNormB float64) float64 {
	squares := squaredNormA * squaredNormB
	if squares == 0 {
		return 1
	}
	return min(max(1-product/math.Sqrt(squares), 0), 2)
}

// count and pick read a choice of rows: nil stands for all.
func count(of []int, n int) int {
	if of == nil {
		return n
	}
	return len(of)
}

func pick(of []int, i int) int {
	if of == nil {
		return i
	}
	return of[i]
}

package neighbors

import (
	"errors"
	"fmt"
	"math"
)

var (
	// ErrShape: rows, labels or memory for results disagree in size.
	ErrShape = errors.New("sizes disagree")
	// ErrOption: an option has a value that can't be.
	ErrOption = errors.New("invalid option")
	// ErrNotFinite: a value is NaN or infinite.
	ErrNotFinite = errors.New("value is not finite")
)

// Rows are embeddings, a row a cell: a whole set, or some rows of one.
type Rows struct {
	N, Width int
	Values   []float32 // [N, Width], row-major
	// Numbers are the rows' places in their set, in any order; nil: 0 … N-1.
	// Reference rows with a negative number are never looked at.
	Numbers []int64
}

func (r Rows) check(what string) error {
	if r.N < 1 || r.Width < 1 || len(r.Values)/r.Width != r.N || len(r.Values)%r.Width != 0 {
		return fmt.Errorf("neighbors: %s: %d values for [%d, %d], which must not be empty: %w",
			what, len(r.Values), r.N, r.Width, ErrShape)
	}
	if r.Numbers != nil && len(r.Numbers) != r.N {
		return fmt.Errorf("neighbors: %s: %d numbers for %d rows: %w", what, len(r.Numbers), r.N, ErrShape)
	}
	return nil
}

func (r Rows) row(i int) []float32 { return r.Values[i*r.Width : (i+1)*r.Width] }

func (r Rows) number(i int) int64 {
	if r.Numbers == nil {
		return int64(i)
	}
	return r.Numbers[i]
}

// seen counts the rows that are looked at.
func (r Rows) seen() int {
	n := r.N
	for _, number := range r.Numbers {
		if number < 0 {
			n--
		}
	}
	return n
}

// NotFiniteError says where the first value is that is NaN or infinite. It
// wraps [ErrNotFinite].
type NotFiniteError struct {
	Reference bool // in the reference, not in the queries
	Row       int64
	Column    int
	Value     float32
}

func (e *NotFiniteError) Error() string {
	what := "queries"
	if e.Reference {
		what = "reference"
	}
	return fmt.Sprintf("neighbors: %s: row %d, column %d: value is %v", what, e.Row, e.Column, e.Value)
}

func (e *NotFiniteError) Unwrap() error { return ErrNotFinite }

// squaredNorms computes |row|² of the rows that are looked at, 0 for the
// others. Squares of float32 values don't overflow float64, so the norms tell
// which rows have values that are not finite.
func squaredNorms(r Rows, reference bool, threads int) ([]float64, error) {
	norms := make([]float64, r.N)
	err := share(threads, r.N, func(from, to int) {
		for i := from; i < to; i++ {
			if !reference || r.number(i) >= 0 {
				norms[i] = dot(r.row(i), r.row(i))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i, norm := range norms {
		if !math.IsNaN(norm) && !math.IsInf(norm, 0) {
			continue
		}
		for column, v := range r.row(i) {
			if v-v != 0 {
				return nil, &NotFiniteError{Reference: reference, Row: r.number(i), Column: column, Value: v}
			}
		}
	}
	return norms, nil
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

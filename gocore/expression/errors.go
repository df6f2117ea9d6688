package expression

import (
	"errors"
	"fmt"
)

var (
	// ErrShape: the parts of a matrix do not fit together.
	ErrShape = errors.New("matrix parts disagree")
	// ErrIndex: a stored gene index lies outside the matrix.
	ErrIndex = errors.New("gene index out of range")
	// ErrNotFinite: a value is NaN or infinite, or too large for a float32.
	ErrNotFinite = errors.New("value is not finite")
)

// NotFiniteError says where the first value of a cell is that is NaN or
// infinite, or becomes so as a float32. It wraps [ErrNotFinite].
type NotFiniteError struct {
	Cell, Gene int
	Value      float64
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("expression: cell %d, gene %d: value is %v: "+
		"replace it, or drop the cell, before embedding", e.Cell, e.Gene, e.Value)
}

func (e *NotFiniteError) Unwrap() error { return ErrNotFinite }

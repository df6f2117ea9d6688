package expression

import (
	"errors"
	"math"
)

// NotFinite tells the values of a cell that are NaN or infinite, or too large
// for a float32, in stored order and as they are stored: those for which
// [Reader.Read] refuses the cell.
func (r *Reader) NotFinite(cell int, tell func(gene int, value float64)) error {
	n := 0
	err := r.matrix.each(cell, func(gene int, value float64) {
		if notFinite(float32(value)) {
			n++
			tell(gene, value)
		}
	})
	if err != nil || n > 0 {
		return err
	}
	// Values that are stored twice may exceed float32 only once they are added.
	_, err = r.Read(cell)
	if at := (*NotFiniteError)(nil); errors.As(err, &at) {
		tell(at.Gene, at.Value)
		return nil
	}
	return err
}

// TooLarge tells that a value is finite, but not as a float32.
func TooLarge(value float64) bool {
	return notFinite(float32(value)) && !math.IsNaN(value) && !math.IsInf(value, 0)
}

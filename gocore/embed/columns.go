package embed

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/expression"
)

// Columns is memory for what is seen in each column of a matrix, valid or not.
// What is seen is added to what stands there, so that the chunks of one matrix
// may share it. A slice is as long as the matrix has columns, or nil where it
// is not wanted.
type Columns struct {
	// Totals are the sums of the values. Sums of counts are exact, whatever the
	// order of the cells.
	Totals []float64
	// Squares are the sums of the squares and Largest the largest values, over
	// cells that hold fractional values: how genes were scaled is nothing to ask
	// of counts.
	Squares []float64
	Largest []float32
	// NotFinite are the numbers of values that are not finite; [Model.Survey]
	// alone counts them. A cell that has any adds to nothing else.
	NotFinite []int64
}

// check makes sure that the memory is for n columns.
func (c Columns) check(n int) error {
	for _, length := range []int{len(c.Totals), len(c.Squares), len(c.Largest), len(c.NotFinite)} {
		if length != 0 && length != n {
			return fmt.Errorf("embed: memory for %d of %d columns: %w", length, n, ErrOption)
		}
	}
	return nil
}

// ofWorker makes memory of a worker's own for what is wanted.
func (c Columns) ofWorker() Columns {
	return Columns{
		Totals: make([]float64, len(c.Totals)), Squares: make([]float64, len(c.Squares)),
		Largest: make([]float32, len(c.Largest)),
	}
}

func (c Columns) add(row *expression.Row, cell expression.Profile) {
	values := row.Values[:len(row.Columns)]
	if totals := c.Totals; len(totals) > 0 {
		for i, column := range row.Columns {
			totals[column] += float64(values[i])
		}
	}
	if cell.Whole {
		return
	}
	if squares := c.Squares; len(squares) > 0 {
		for i, column := range row.Columns {
			squares[column] += float64(values[i]) * float64(values[i])
		}
	}
	if largest := c.Largest; len(largest) > 0 {
		for i, column := range row.Columns {
			largest[column] = max(largest[column], values[i])
		}
	}
}

// merge adds what a worker saw; NotFinite may be missing there.
func (c Columns) merge(o Columns) {
	for i, v := range o.Totals {
		c.Totals[i] += v
	}
	for i, v := range o.Squares {
		c.Squares[i] += v
	}
	for i, v := range o.Largest {
		c.Largest[i] = max(c.Largest[i], v)
	}
	if c.NotFinite != nil {
		for i, n := range o.NotFinite {
			c.NotFinite[i] += n
		}
	}
}

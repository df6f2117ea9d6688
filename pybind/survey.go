package pybind

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/embed"
)

// columnsRequest is memory for what a survey sees in each column, which adds to
// what stands there (see [embed.Columns]).
type columnsRequest struct {
	Totals    *array `json:"totals"`     // float64
	Squares   *array `json:"squares"`    // float64
	Largest   *array `json:"largest"`    // float32
	NotFinite *array `json:"not_finite"` // int64
}

func (r *columnsRequest) columns() (columns embed.Columns, err error) {
	if columns.Totals, err = optional[float64](r.Totals, "float64"); err != nil {
		return columns, err
	}
	if columns.Squares, err = optional[float64](r.Squares, "float64"); err != nil {
		return columns, err
	}
	if columns.Largest, err = optional[float32](r.Largest, "float32"); err != nil {
		return columns, err
	}
	columns.NotFinite, err = optional[int64](r.NotFinite, "int64")
	return columns, err
}

// surveyRequest asks for a look over all cells. Its report has that of an embed
// job, and "not_finite": what is known of values that are not finite.
type surveyRequest struct {
	cellsRequest
	columnsRequest
}

func (r *surveyRequest) work() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	if c.Columns, err = r.columns(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		seen, missing, err := m.Survey(ctx, c)
		if err != nil {
			return nil, err
		}
		report, _ := reportOf(seen, nil)
		return map[string]any{"report": report, "not_finite": notFiniteOf(missing)}, nil
	}, nil
}

// notFiniteOf describes values that are not finite; nil if there are none.
func notFiniteOf(f embed.NotFinite) any {
	if f.First == nil {
		return nil
	}
	patterns := make([]string, len(f.Patterns)) // whole numbers of JSON may lose their last digits
	for i, pattern := range f.Patterns {
		patterns[i] = fmt.Sprintf("%016x", pattern)
	}
	return map[string]any{
		"n_nan": f.NNaN, "n_infinite": f.NInfinite, "n_too_large": f.NTooLarge,
		"n_cells": f.NCells, "n_whole_cells": f.NWholeCells, "patterns": patterns,
		"cell": f.First.Cell, "gene": f.First.Gene, "value": fmt.Sprint(f.First.Value),
	}
}

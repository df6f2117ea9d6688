package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
)

// contextualRequest asks for contextual gene embeddings.
type contextualRequest struct {
	cellsRequest
	placesRequest
	BatchSize int   `json:"batch_size"`
	Output    array `json:"output"`
}

func (r *contextualRequest) work() (work, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	c.BatchSize = r.BatchSize
	out := embed.Contextual{}
	if out.Embeddings, err = typed[float32](r.Output, "float32"); err != nil {
		return nil, err
	}
	if out.Places, err = r.places(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		return reportOf(m.Contextual(ctx, c, out))
	}, nil
}

package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
)

// attentionRequest asks for the attention of [CLS].
type attentionRequest struct {
	cellsRequest
	placesRequest
	BatchSize int   `json:"batch_size"`
	Output    array `json:"output"`
	// Layer counts from 0; -1 is the mean over all.
	Layer int `json:"layer"`
}

func (r *attentionRequest) work() (work, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	c.BatchSize = r.BatchSize
	out := embed.Attention{Layer: r.Layer}
	if out.Weights, err = typed[float32](r.Output, "float32"); err != nil {
		return nil, err
	}
	if out.Places, err = r.places(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		return reportOf(m.Attention(ctx, c, out))
	}, nil
}

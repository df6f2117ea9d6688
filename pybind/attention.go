package pybind

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/embed"
)

// attentionRequest asks for the attention of [CLS]: to chosen genes, or to every
// slot of the sentences, with the tokens that stand there.
type attentionRequest struct {
	cellsRequest
	BatchSize int   `json:"batch_size"`
	Output    array `json:"output"`
	// Layer counts from 0; -1 is the mean over all.
	Layer int `json:"layer"`

	Genes *array `json:"genes"` // their tokens

	Slots       *int   `json:"slots"`
	GeneIndices *array `json:"gene_indices"`
}

func (r *attentionRequest) work() (work, error) {
	chosen, slots := r.Genes != nil, r.Slots != nil && r.GeneIndices != nil
	if chosen == slots || chosen && (r.Slots != nil || r.GeneIndices != nil) {
		return nil, fmt.Errorf(`give either "genes" or both "slots" and "gene_indices": %w`, errRequest)
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
	if out.Genes, err = optional[int32](r.Genes, "int32"); err != nil {
		return nil, err
	}
	if out.GeneIndices, err = optional[int32](r.GeneIndices, "int32"); err != nil {
		return nil, err
	}
	if slots {
		out.Slots = *r.Slots
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		return reportOf(m.Attention(ctx, c, out))
	}, nil
}

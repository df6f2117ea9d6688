package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
)

// decodeRequest asks for the expression of genes that a model predicts in cells.
type decodeRequest struct {
	Model     int64  `json:"model"`
	NCells    int    `json:"n_cells"`
	Embedding array  `json:"embedding"`
	Dataset   *array `json:"dataset_embedding"` // where the decoder takes it
	ReadDepth *array `json:"read_depth"`        // where the decoder takes it
	Genes     array  `json:"genes"`             // their tokens
	Output    array  `json:"output"`
	Threads   int    `json:"threads"`
}

func (r *decodeRequest) work() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	d := &embed.Decode{NCells: r.NCells, Threads: r.Threads}
	if d.Embedding, err = typed[float32](r.Embedding, "float32"); err != nil {
		return nil, err
	}
	if d.ReadDepth, err = optional[float32](r.ReadDepth, "float32"); err != nil {
		return nil, err
	}
	if d.Dataset, err = optional[float32](r.Dataset, "float32"); err != nil {
		return nil, err
	}
	if d.Genes, err = typed[int32](r.Genes, "int32"); err != nil {
		return nil, err
	}
	out, err := typed[float32](r.Output, "float32")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		d.Progress = j.progress(len(out))
		return nil, m.Decode(ctx, d, out)
	}, nil
}

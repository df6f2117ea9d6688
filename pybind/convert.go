package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/convert"
)

// convertRequest asks for a checkpoint to be converted. An empty text leaves a
// choice to Go.
type convertRequest struct {
	Source            string `json:"source"`
	Destination       string `json:"destination"`
	Name              string `json:"name"`
	Checkpoint        string `json:"checkpoint"`
	Config            string `json:"config"`
	ProteinEmbeddings string `json:"protein_embeddings"`
	Overwrite         bool   `json:"overwrite"`
}

func (r *convertRequest) work() (work, error) { //nolint:unparam // as every request has it
	return func(ctx context.Context, j *job) (any, error) {
		return nil, cannotWrite(convert.Convert(ctx, r.Source, r.Destination, convert.Options{
			Options:   checkpoint.Options{Config: r.Config, ProteinEmbeddings: r.ProteinEmbeddings, Name: r.Checkpoint},
			ModelName: r.Name, Overwrite: r.Overwrite,
			Progress: func(done, total int64) {
				j.total.Store(total)
				j.done.Store(done)
			},
		}))
	}, nil
}

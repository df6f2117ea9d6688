package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// Output is where results go, memory that the caller owns.
type Output struct {
	// Embedding is [n cells, output_dim], rows of unit length.
	Embedding []float32
	// Dataset is [n cells, dataset_dim]; nil where it is not wanted, or the
	// model has no dataset token.
	Dataset []float32
}

func (m *Model) checkOutput(o Output, nCells int) error {
	d := m.Config.Dimensions
	if !holds(len(o.Embedding), nCells, d.OutputDim) || o.Dataset != nil && !holds(len(o.Dataset), nCells, d.DatasetDim) {
		return fmt.Errorf("embed: output for %d and %d values, %d cells have %d and %d: %w",
			len(o.Embedding), len(o.Dataset), nCells, nCells*d.OutputDim, nCells*d.DatasetDim, ErrOption)
	}
	return nil
}

// embedBatch executes a batch and scatters its rows.
func embedBatch(ctx context.Context, l *lane, b *batch.Batch, out Output) error {
	d, v := l.model.Config.Dimensions, modeldir.Dense
	if b.Multiplicity != nil {
		v = modeldir.Weighted
	}
	results, err := l.run(ctx, v, modeldir.SentenceSizes(b.Size(), b.Length), l.inputs(v, b), nil)
	if err != nil {
		return err
	}
	cls, dataset := results[modeldir.CLS], results[modeldir.DatasetEmbedding]
	for i, row := range b.Rows {
		embedding := cls[i*d.OutputDim : (i+1)*d.OutputDim]
		if err := l.checkFinite(row, "the embedding", embedding); err != nil {
			return err
		}
		normalise(out.Embedding[row*d.OutputDim:(row+1)*d.OutputDim], embedding)
		if out.Dataset != nil {
			values := dataset[i*d.DatasetDim : (i+1)*d.DatasetDim]
			if err := l.checkFinite(row, "the dataset embedding", values); err != nil {
				return err
			}
			copy(out.Dataset[row*d.DatasetDim:(row+1)*d.DatasetDim], values)
		}
	}
	return nil
}

// normalise writes src at unit length (a length of zero is taken for 1e-12, as
// the reference does).
func normalise(dst, src []float32) {
	var sum float64
	for _, v := range src {
		sum += float64(v) * float64(v)
	}
	length := max(math.Sqrt(sum), 1e-12)
	for i, v := range src {
		dst[i] = float32(float64(v) / length)
	}
}

package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
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
	if len(o.Embedding) != nCells*d.OutputDim || o.Dataset != nil && len(o.Dataset) != nCells*d.DatasetDim {
		return fmt.Errorf("embed: output for %d and %d values, %d cells have %d and %d: %w",
			len(o.Embedding), len(o.Dataset), nCells, nCells*d.OutputDim, nCells*d.DatasetDim, ErrOption)
	}
	return nil
}

// runner executes batches one after the other, in memory that it reuses.
type runner struct {
	model                         *Model
	threads                       int
	out                           Output
	logMultiplicity, cls, dataset []float32
}

// run executes a batch and scatters its rows.
func (r *runner) run(ctx context.Context, b *batch.Batch) error {
	d := r.model.Config.Dimensions
	n := len(b.Rows)
	shape := []int{n, b.Length}
	inputs := []ort.Tensor{{Shape: shape, Int32: b.GeneIndices}, {Shape: shape, Float32: b.ExpressionValues}}
	variant := modeldir.Dense
	if b.Multiplicity != nil {
		variant = modeldir.Weighted
		r.logMultiplicity = logs(r.logMultiplicity, b.Multiplicity)
		inputs = append(inputs, ort.Tensor{Shape: shape, Float32: r.logMultiplicity})
	}
	session, err := r.model.session(ctx, variant, r.threads)
	if err != nil {
		return err
	}
	r.cls = grow(r.cls, n*d.OutputDim)
	outputs := []ort.Tensor{{Shape: []int{n, d.OutputDim}, Float32: r.cls}}
	if d.DatasetDim > 0 {
		r.dataset = grow(r.dataset, n*d.DatasetDim)
		outputs = append(outputs, ort.Tensor{Shape: []int{n, d.DatasetDim}, Float32: r.dataset})
	}
	if err := session.Run(ctx, inputs, outputs); err != nil {
		return err
	}
	for i, row := range b.Rows {
		normalise(r.out.Embedding[row*d.OutputDim:(row+1)*d.OutputDim], r.cls[i*d.OutputDim:(i+1)*d.OutputDim])
		if r.out.Dataset != nil {
			copy(r.out.Dataset[row*d.DatasetDim:(row+1)*d.DatasetDim], r.dataset[i*d.DatasetDim:(i+1)*d.DatasetDim])
		}
	}
	return nil
}

// logs takes the logarithms of multiplicities, which are added to attention
// scores. Zero (padding) becomes -1e4, which every kernel takes and exp makes
// zero of. It is done here because ONNX Runtime's Log rounds an element
// differently at the end of an array, so that a cell's batch would matter.
func logs(into, multiplicity []float32) []float32 {
	into = grow(into, len(multiplicity))
	for i, m := range multiplicity {
		switch m {
		case 0:
			into[i] = -1e4
		case 1:
			into[i] = 0
		default:
			into[i] = float32(math.Log(float64(m)))
		}
	}
	return into
}

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
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

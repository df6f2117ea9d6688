package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// MeanOfLayers asks for the mean over all layers.
const MeanOfLayers = -1

// Attention is memory for the attention of [CLS], the mean over the heads of a
// layer. Row-major [n cells, W], where W is the number of chosen genes or, if none
// are chosen, of slots.
type Attention struct {
	// Layer counts from 0; or [MeanOfLayers].
	Layer int
	Places
	// Weights are NaN for a gene that is not in a cell's sentence, and for slots
	// past its end. A gene that stands several times has the sum.
	Weights []float32
}

func (m *Model) checkAttention(o Attention, nCells, maxLength int) error {
	if n := m.Config.Dimensions.NLayers; o.Layer < MeanOfLayers || o.Layer >= n {
		return fmt.Errorf("embed: attention in layer %d of %d: %w", o.Layer+1, n, ErrOption)
	}
	return m.checkPlaces("attention", o.Places, len(o.Weights), 1, nCells, maxLength)
}

// Attention computes the attention of [CLS] to the genes of cells.
func (m *Model) Attention(ctx context.Context, c *Cells, out Attention) (Report, error) {
	return m.pipeline(ctx, c, modeldir.Attention, func(plan *sentence.Plan) error {
		return m.checkAttention(out, c.Matrix.NCells(), plan.MaxLength())
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		return m.attentionBatch(ctx, l, b, out)
	})
}

// attentionBatch executes a batch and scatters its weights.
func (m *Model) attentionBatch(ctx context.Context, l *lane, b *batch.Batch, out Attention) error {
	const v = modeldir.Attention
	results, err := l.run(ctx, v, modeldir.SentenceSizes(b.Size(), b.Length), l.inputs(v, b), nil)
	if err != nil {
		return err
	}
	nLayers := m.Config.Dimensions.NLayers
	weights := make([]float32, b.Length)
	for i, row := range b.Rows {
		ofCell := results[modeldir.CLSAttention][i*nLayers*b.Length:][:nLayers*b.Length]
		if out.Layer == MeanOfLayers {
			meanOfRows(ofCell, weights)
		} else {
			copy(weights, ofCell[out.Layer*b.Length:])
		}
		length := b.InUse(i)
		if err := l.checkFinite(row, "attention", weights[:length]); err != nil {
			return err
		}
		out.scatter(row, b.GeneIndices[i*b.Length:][:length], weights)
	}
	return nil
}

// meanOfRows is the mean over rows that are as wide as it is.
func meanOfRows(rows, mean []float32) {
	n := len(rows) / len(mean)
	for k := range mean {
		var sum float64
		for r := range n {
			sum += float64(rows[r*len(mean)+k])
		}
		mean[k] = float32(sum / float64(n))
	}
}

// scatter writes one cell's weights to their places; it has as many tokens.
func (o Attention) scatter(row int, tokens []int32, weights []float32) {
	width, lacking := o.width(), float32(math.NaN())
	into := o.Weights[row*width : (row+1)*width]
	if o.Genes == nil {
		indices := o.GeneIndices[row*width : (row+1)*width]
		for place := range width {
			if place < len(tokens) {
				into[place], indices[place] = weights[place], tokens[place]
			} else {
				into[place], indices[place] = lacking, -1
			}
		}
		return
	}
	sums := make(map[int32]float64, len(tokens))
	for slot, token := range tokens {
		sums[token] += float64(weights[slot])
	}
	for place, gene := range o.Genes {
		into[place] = lacking
		if sum, has := sums[gene]; has {
			into[place] = float32(sum)
		}
	}
}

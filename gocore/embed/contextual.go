package embed

import (
	"context"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// Contextual is memory for contextual gene embeddings: the last layer's vectors
// of the tokens of a cell's sentence. Row-major [n cells, W, emsize], where W is
// the number of chosen genes or, if none are chosen, of slots.
type Contextual struct {
	Places
	// Embeddings are NaN for a gene that is not in a cell's sentence, and for
	// slots past its end.
	Embeddings []float32
}

func (m *Model) checkContextual(o Contextual, nCells, maxLength int) error {
	return m.checkPlaces("contextual gene embeddings", o.Places, len(o.Embeddings), m.Config.Dimensions.EmSize, nCells, maxLength)
}

// Contextual computes contextual gene embeddings of cells. A gene that stands
// several times in a sentence gives the vector of its first slot.
func (m *Model) Contextual(ctx context.Context, c *Cells, out Contextual) (Report, error) {
	return m.pipeline(ctx, c, modeldir.Contextual, func(plan *sentence.Plan) error {
		return m.checkContextual(out, c.Matrix.NCells(), plan.MaxLength())
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		return m.contextualBatch(ctx, l, b, out)
	})
}

// contextualBatch executes a batch and scatters its vectors.
func (m *Model) contextualBatch(ctx context.Context, l *lane, b *batch.Batch, out Contextual) error {
	const v = modeldir.Contextual
	results, err := l.run(ctx, v, modeldir.SentenceSizes(b.Size(), b.Length), l.inputs(v, b), nil)
	if err != nil {
		return err
	}
	vectors, d := results[modeldir.ContextualEmbedding], m.Config.Dimensions.EmSize
	for i, row := range b.Rows {
		at, end := i*b.Length, (i+1)*b.Length
		length := b.InUse(i)
		if err := l.checkFinite(row, "a contextual gene embedding", vectors[at*d:(at+length)*d]); err != nil {
			return err
		}
		out.scatter(row, d, b.GeneIndices[at:at+length], vectors[at*d:end*d])
	}
	return nil
}

// scatter writes one cell's vectors to their places.
func (o Contextual) scatter(row, d int, tokens []int32, vectors []float32) {
	width := o.width()
	into := o.Embeddings[row*width*d : (row+1)*width*d]
	put := func(place, slot int) { copy(into[place*d:(place+1)*d], vectors[slot*d:(slot+1)*d]) }
	lack := func(place int) {
		for i := range d {
			into[place*d+i] = float32(math.NaN())
		}
	}
	if o.Genes == nil {
		indices := o.GeneIndices[row*width : (row+1)*width]
		for place := range width {
			if place < len(tokens) {
				put(place, place)
				indices[place] = tokens[place]
			} else {
				lack(place)
				indices[place] = -1
			}
		}
		return
	}
	slots := make(map[int32]int, len(tokens))
	for slot := len(tokens) - 1; slot >= 0; slot-- { // so that the first one stays
		slots[tokens[slot]] = slot
	}
	for place, gene := range o.Genes {
		if slot, has := slots[gene]; has {
			put(place, slot)
		} else {
			lack(place)
		}
	}
}

package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
)

// Contextual is memory for contextual gene embeddings: the last layer's vectors
// of the tokens of a cell's sentence. Row-major [n cells, W, emsize], where W is
// the number of chosen genes or, if none are chosen, of slots.
type Contextual struct {
	// Genes are the gene tokens wanted; nil: every slot of the sentence.
	Genes []int32
	// Slots is the number of slots if no genes are chosen, that of the plan's
	// longest sentence at least.
	Slots int
	// Embeddings are NaN for a gene that is not in a cell's sentence, and for
	// slots past its end.
	Embeddings []float32
	// GeneIndices are the tokens in the slots, [n cells, Slots], -1 past a
	// sentence's end; empty if genes are chosen.
	GeneIndices []int32
}

// width is W.
func (o Contextual) width() int {
	if o.Genes != nil {
		return len(o.Genes)
	}
	return o.Slots
}

func (m *Model) checkContextual(o Contextual, nCells, maxLength int) error {
	wantIndices := nCells * o.Slots
	if o.Genes != nil {
		wantIndices = 0
	} else if o.Slots < maxLength {
		return fmt.Errorf("embed: %d slots, sentences have up to %d: %w", o.Slots, maxLength, ErrOption)
	}
	if want := nCells * o.width() * m.Config.Dimensions.EmSize; len(o.Embeddings) != want || len(o.GeneIndices) != wantIndices {
		return fmt.Errorf("embed: contextual gene embeddings: memory for %d values and %d gene indices, %d and %d are needed: %w",
			len(o.Embeddings), len(o.GeneIndices), want, wantIndices, ErrOption)
	}
	return m.checkGenes(o.Genes)
}

// checkGenes makes sure that gene tokens are in the vocabulary.
func (m *Model) checkGenes(tokens []int32) error {
	for i, token := range tokens {
		if token < 0 || token >= m.Vocabulary.CLS() {
			return fmt.Errorf("embed: gene %d: token %d is not in the vocabulary (0 to %d): %w", i, token, m.Vocabulary.CLS()-1, ErrOption)
		}
	}
	return nil
}

// Contextual computes contextual gene embeddings of cells. A gene that stands
// several times in a sentence gives the vector of its first slot.
func (m *Model) Contextual(ctx context.Context, c *Cells, out Contextual) (Report, error) {
	if err := m.begin(); err != nil {
		return Report{}, err
	}
	defer m.end()
	plan, err := m.Plan(c)
	if err != nil {
		return Report{}, err
	}
	if err := m.checkContextual(out, c.Matrix.NCells(), plan.MaxLength()); err != nil {
		return Report{}, err
	}
	return m.pipeline(ctx, c, plan, func(threads int) batchRunner {
		return (&contextualRunner{model: m, threads: threads, out: out}).run
	})
}

// contextualRunner executes batches one after the other, in memory that it
// reuses.
type contextualRunner struct {
	model                    *Model
	threads                  int
	out                      Contextual
	logMultiplicity, vectors []float32
}

func (r *contextualRunner) run(ctx context.Context, b *batch.Batch) error {
	d := r.model.Config.Dimensions.EmSize
	n, shape := len(b.Rows), []int{len(b.Rows), b.Length}
	if b.Multiplicity == nil {
		r.logMultiplicity = grow(r.logMultiplicity, n*b.Length)
		clear(r.logMultiplicity)
	} else {
		r.logMultiplicity = logs(r.logMultiplicity, b.Multiplicity)
	}
	session, err := r.model.session(ctx, modeldir.Contextual, r.threads)
	if err != nil {
		return err
	}
	r.vectors = grow(r.vectors, n*b.Length*d)
	err = session.Run(ctx, []ort.Tensor{
		{Shape: shape, Int32: b.GeneIndices}, {Shape: shape, Float32: b.ExpressionValues}, {Shape: shape, Float32: r.logMultiplicity},
	}, []ort.Tensor{{Shape: []int{n, b.Length, d}, Float32: r.vectors}})
	if err != nil {
		return err
	}
	for i, row := range b.Rows {
		at, end := i*b.Length, (i+1)*b.Length
		length := b.Length
		if b.Multiplicity != nil { // 0 is padding, at the end
			for length > 0 && b.Multiplicity[at+length-1] == 0 {
				length--
			}
		}
		r.scatter(row, b.GeneIndices[at:at+length], r.vectors[at*d:end*d])
	}
	return nil
}

// scatter writes one cell's vectors to their places.
func (r *contextualRunner) scatter(row int, tokens []int32, vectors []float32) {
	d, width := r.model.Config.Dimensions.EmSize, r.out.width()
	into := r.out.Embeddings[row*width*d : (row+1)*width*d]
	put := func(place, slot int) { copy(into[place*d:(place+1)*d], vectors[slot*d:(slot+1)*d]) }
	lack := func(place int) {
		for i := range d {
			into[place*d+i] = float32(math.NaN())
		}
	}
	if r.out.Genes == nil {
		indices := r.out.GeneIndices[row*width : (row+1)*width]
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
	for place, gene := range r.out.Genes {
		if slot, has := slots[gene]; has {
			put(place, slot)
		} else {
			lack(place)
		}
	}
}

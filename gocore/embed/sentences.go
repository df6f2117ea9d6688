package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// Given are sentences made elsewhere, row-major [N, Length].
type Given struct {
	N, Length        int
	GeneIndices      []int32
	ExpressionValues []float32
	Multiplicity     []float32 // nil: every token once
	BatchSize        int
	Threads          int
	Progress         func(nCells int)
}

// check makes sure of sizes and values. Slot 0 must be [CLS]: the graph reads
// the embedding there.
func (m *Model) check(g *Given) error {
	if g.Length < 1 || !holds(len(g.GeneIndices), g.N, g.Length) || len(g.ExpressionValues) != len(g.GeneIndices) ||
		g.Multiplicity != nil && len(g.Multiplicity) != len(g.GeneIndices) {
		return fmt.Errorf("embed: %d sentences of %d slots, but %d gene indices, %d values and %d multiplicities: %w",
			g.N, g.Length, len(g.GeneIndices), len(g.ExpressionValues), len(g.Multiplicity), ErrOption)
	}
	if g.BatchSize < 0 {
		return fmt.Errorf("embed: batch_size=%d: %w", g.BatchSize, ErrOption)
	}
	cls := m.Vocabulary.CLS()
	for i, token := range g.GeneIndices {
		if i%g.Length == 0 && token != cls {
			return fmt.Errorf("embed: sentence %d begins with token %d, but slot 0 must be [CLS], token %d: %w", i/g.Length, token, cls, ErrOption)
		}
		if token < 0 || token > cls {
			return fmt.Errorf("embed: sentence %d, slot %d: gene index %d is not in the vocabulary (0 to %d, [CLS] %d): %w",
				i/g.Length, i%g.Length, token, cls-1, cls, ErrOption)
		}
	}
	for i, v := range g.ExpressionValues {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("embed: sentence %d, slot %d: the expression value is %v: %w", i/g.Length, i%g.Length, v, ErrOption)
		}
	}
	for i, v := range g.Multiplicity {
		if !(v >= 0) || math.IsInf(float64(v), 0) || i%g.Length == 0 && v == 0 {
			return fmt.Errorf("embed: sentence %d, slot %d: the multiplicity is %v: %w", i/g.Length, i%g.Length, v, ErrOption)
		}
	}
	return nil
}

// beginOn begins work on sentences that fit the model and the memory for results.
// Unless it fails, [Model.end] must follow.
func (m *Model) beginOn(g *Given, out Output) error {
	if err := m.check(g); err != nil {
		return err
	}
	if err := m.checkOutput(out, g.N); err != nil {
		return err
	}
	return m.begin()
}

// EmbedSentences embeds sentences as they are given.
func (m *Model) EmbedSentences(ctx context.Context, g *Given, out Output) error {
	if err := m.beginOn(g, out); err != nil {
		return err
	}
	defer m.end()
	how, err := m.spread(g.Threads, m.Config.Dimensions.EmSize)
	if err != nil {
		return err
	}
	pool, err := m.batches(how, batch.Layout{
		MaxLength: g.Length, Weighted: g.Multiplicity != nil, Cells: g.BatchSize,
	}, modeldir.Dense, g.N)
	if err != nil {
		return err
	}
	return how.execute(ctx, pool, func(_ context.Context, send func(...*batch.Batch) error) error {
		collector := batch.NewCollector(pool)
		for i := range g.N {
			if b := collector.Add(i, func(into sentence.Sentence) int { return g.copy(i, into) }); b != nil {
				if err := send(b); err != nil {
					return err
				}
			}
		}
		return send(collector.Rest()...)
	}, func(ctx context.Context, l *lane, b *batch.Batch) error { return embedBatch(ctx, l, b, out) }, g.Progress)
}

// copy copies a sentence, and tells its length.
func (g *Given) copy(i int, into sentence.Sentence) int {
	at, end := i*g.Length, (i+1)*g.Length
	copy(into.GeneIndices, g.GeneIndices[at:end])
	copy(into.ExpressionValues, g.ExpressionValues[at:end])
	if g.Multiplicity != nil {
		copy(into.Multiplicity, g.Multiplicity[at:end])
	}
	return g.Length
}

// one is a batch of one sentence, in its own memory.
func (g *Given) one(i int) *batch.Batch {
	at, end := i*g.Length, (i+1)*g.Length
	b := &batch.Batch{Rows: []int{i}, Length: g.Length, GeneIndices: g.GeneIndices[at:end], ExpressionValues: g.ExpressionValues[at:end]}
	if g.Multiplicity != nil {
		b.Multiplicity = g.Multiplicity[at:end]
	}
	return b
}

func (g *Given) tell(nCells int) {
	if g.Progress != nil {
		g.Progress(nCells)
	}
}

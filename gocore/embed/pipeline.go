package embed

import (
	"context"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// batchSink gathers sentences into batches for the lanes.
type batchSink struct {
	collector *batch.Collector
	merger    *batch.Merger
	send      func(...*batch.Batch) error
}

func (s *batchSink) write(row int, tokenize tokenizer) error {
	b := s.collector.Add(row, tokenize)
	if b == nil {
		return nil
	}
	return s.send(b)
}

func (s *batchSink) end() error { return s.send(s.merger.Take(s.collector)...) }

// Embed embeds cells.
func (m *Model) Embed(ctx context.Context, c *Cells, out Output) (Report, error) {
	return m.pipeline(ctx, c, modeldir.Dense, func(*sentence.Plan) error {
		return m.checkOutput(out, c.Matrix.NCells())
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		return embedBatch(ctx, l, b, out)
	})
}

// pipeline tokenises cells ahead of the lanes, which run the batches through a
// variant. Before that, check looks at the caller's memory.
func (m *Model) pipeline(
	ctx context.Context, c *Cells, v modeldir.Variant, check func(*sentence.Plan) error,
	run func(context.Context, *lane, *batch.Batch) error,
) (report Report, err error) {
	if err := m.begin(); err != nil {
		return report, err
	}
	defer m.end()
	plan, err := m.Plan(c)
	if err != nil {
		return report, err
	}
	if err := check(plan); err != nil {
		return report, err
	}
	how, err := m.spread(c.Threads, m.Config.Dimensions.EmSize)
	if err != nil {
		return report, err
	}
	pool, err := m.batches(how, batch.Layout{
		MaxLength: plan.MaxLength(), Varying: plan.Varying(), Weighted: plan.Weighted(), Cells: c.BatchSize,
	}, v, c.Matrix.NCells())
	if err != nil {
		return report, err
	}
	err = how.execute(ctx, pool, func(ctx context.Context, send func(...*batch.Batch) error) (err error) {
		merger := batch.NewMerger(pool)
		report, err = eachCell(ctx, c, plan, how.workers, func() sink { return &batchSink{batch.NewCollector(pool), merger, send} })
		if err != nil {
			return err
		}
		return send(merger.Rest()...)
	}, run, c.Progress)
	return report, err
}

// batches makes the pool of batches of a layout that says what sentences are
// like, for a variant.
func (m *Model) batches(how execution, layout batch.Layout, v modeldir.Variant, nCells int) (*batch.Pool, error) {
	traits, d := how.traits, m.Config.Dimensions
	layout.TokenBudget, layout.Padding = how.tokenBudget(d, layout.MaxLength), m.Vocabulary.CLS()
	layout.Fixed, layout.Step, layout.Multiple = traits.FixedShapes, traits.LengthStep, traits.LengthMultiple
	if d.DatasetDim > 0 {
		layout.Extra = 1
	}
	if layout.Multiple > 0 && (v == modeldir.Contextual || v == modeldir.Attention) { // which always take multiplicities
		layout.Weighted = true
	}
	if !layout.Fixed {
		layout.Cells = min(layout.Cells, max(1, nCells)) // no batch takes more memory than all cells need
	}
	// A batch of every kind that a worker fills, those in the queue and those that
	// run: more would never be unused.
	pool, err := batch.NewPool(layout, 2*(how.workers+len(how.lanes)))
	if err == nil && traits.Bounded {
		var b bounds
		b.least, b.most, b.cells = layout.Bounds()
		for _, l := range how.lanes {
			l.bounds = b
		}
	}
	return pool, err
}

// execute has every lane run batches as they come, and counts cells.
func (e execution) execute(
	ctx context.Context, pool *batch.Pool, produce func(context.Context, func(...*batch.Batch) error) error,
	run func(context.Context, *lane, *batch.Batch) error, progress func(nCells int),
) error {
	return execute(ctx, e.lanes, func(ctx context.Context, send func(*batch.Batch) error) error {
		return produce(ctx, func(batches ...*batch.Batch) error {
			for _, b := range batches {
				if err := send(b); err != nil {
					return err
				}
			}
			return nil
		})
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		if err := l.fitting(b, func(b *batch.Batch) error { return run(ctx, l, b) }); err != nil {
			return err
		}
		if progress != nil {
			progress(len(b.Rows))
		}
		pool.Put(b)
		return nil
	})
}

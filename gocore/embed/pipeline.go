package embed

import (
	"context"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// batchSink gathers sentences into batches for the runners.
type batchSink struct {
	collector *batch.Collector
	send      func(*batch.Batch) error
}

func (s *batchSink) write(row int, tokenize tokenizer) error {
	b := s.collector.Add(row, tokenize)
	if b == nil {
		return nil
	}
	return s.send(b)
}

func (s *batchSink) end() error {
	for _, b := range s.collector.Rest() {
		if err := s.send(b); err != nil {
			return err
		}
	}
	return nil
}

// Embed embeds cells.
func (m *Model) Embed(ctx context.Context, c *Cells, out Output) (Report, error) {
	return m.pipeline(ctx, c, func(*sentence.Plan) error {
		return m.checkOutput(out, c.Matrix.NCells())
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		return embedBatch(ctx, l, b, out)
	})
}

// pipeline tokenises cells ahead of the lanes, which run the batches. Before
// that, check looks at the caller's memory.
func (m *Model) pipeline(
	ctx context.Context, c *Cells, check func(*sentence.Plan) error, run func(context.Context, *lane, *batch.Batch) error,
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
	d := m.Config.Dimensions
	how, err := m.spread(c.Threads, d.EmSize)
	if err != nil {
		return report, err
	}
	// A batch of every kind that a worker fills, those in the queue and those
	// that run: more would never be unused.
	pool, err := batch.NewPool(batch.Layout{
		MaxLength: plan.MaxLength(), Varying: plan.Varying(), Weighted: plan.Weighted(),
		// No batch takes more memory than all cells need.
		Cells: min(c.BatchSize, max(1, c.Matrix.NCells())), TokenBudget: how.tokenBudget(d, plan.MaxLength()),
		Padding: m.Vocabulary.CLS(),
	}, 2*(how.workers+len(how.lanes)))
	if err != nil {
		return report, err
	}
	err = execute(ctx, how.lanes, func(ctx context.Context, send func(*batch.Batch) error) (err error) {
		report, err = eachCell(ctx, c, plan, how.workers, func() sink { return &batchSink{batch.NewCollector(pool), send} })
		return err
	}, func(ctx context.Context, l *lane, b *batch.Batch) error {
		if err := run(ctx, l, b); err != nil {
			return err
		}
		if c.Progress != nil {
			c.Progress(len(b.Rows))
		}
		pool.Put(b)
		return nil
	})
	return report, err
}

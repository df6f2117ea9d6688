package embed

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

func (m *Model) checkStages(g *Given, stages [][]float32) error {
	known := m.Config.Stages()
	if len(stages) != len(known) {
		return fmt.Errorf("embed: memory for %d stages, the model has %d: %w", len(stages), len(known), ErrOption)
	}
	for k, stage := range known {
		if needed := size(stage.ShapeOf(modeldir.SentenceSizes(g.N, g.Length))); len(stages[k]) != needed {
			return fmt.Errorf("embed: stage %q: memory for %d values, %d are needed: %w", stage.Name, len(stages[k]), needed, ErrOption)
		}
	}
	return nil
}

// Trace runs the unfolded graph on sentences. Memory for each stage, in the
// order of [modeldir.Config.Stages], is [N, rows, width], row-major.
func (m *Model) Trace(ctx context.Context, g *Given, out Output, stages [][]float32) error {
	if err := m.beginOn(g, out); err != nil {
		return err
	}
	defer m.end()
	if err := m.checkStages(g, stages); err != nil {
		return err
	}
	d := m.Config.Dimensions
	how, err := m.spread(g.Threads, d.EmSize)
	if err != nil {
		return err
	}
	l := how.lanes[0]
	for i := range g.N { // one sentence at a time: a stage of one is 40 MB at full width
		b := g.one(i)
		places := map[string][]float32{}
		for k, stage := range m.Config.Stages() {
			n := len(stages[k]) / g.N
			places[stage.Name] = stages[k][i*n : (i+1)*n]
		}
		if out.Dataset != nil {
			places[modeldir.DatasetEmbedding] = out.Dataset[i*d.DatasetDim : (i+1)*d.DatasetDim]
		}
		results, err := l.run(ctx, modeldir.Trace, modeldir.SentenceSizes(1, g.Length), l.inputs(modeldir.Trace, b), places)
		if err != nil {
			return err
		}
		normalise(out.Embedding[i*d.OutputDim:(i+1)*d.OutputDim], results[modeldir.CLS])
		g.tell(1)
	}
	return nil
}

package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
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
	size := g.N * g.Length
	if g.Length < 1 || len(g.GeneIndices) != size || len(g.ExpressionValues) != size ||
		g.Multiplicity != nil && len(g.Multiplicity) != size {
		return fmt.Errorf("embed: %d sentences of %d slots, but %d gene indices, %d values and %d multiplicities: %w",
			g.N, g.Length, len(g.GeneIndices), len(g.ExpressionValues), len(g.Multiplicity), ErrOption)
	}
	if g.BatchSize < 0 {
		return fmt.Errorf("embed: batch_size=%d: %w", g.BatchSize, ErrOption)
	}
	cls := m.Vocabulary.CLS()
	for i, token := range g.GeneIndices {
		if i%g.Length == 0 && token != cls {
			return fmt.Errorf("embed: sentence %d begins with token %d, slot 0 must be [CLS], %d: %w", i/g.Length, token, cls, ErrOption)
		}
		if token < 0 || token > cls {
			return fmt.Errorf("embed: sentence %d, slot %d: gene index %d is not in the vocabulary (0 to %d, [CLS] %d): %w",
				i/g.Length, i%g.Length, token, cls-1, cls, ErrOption)
		}
	}
	for i, v := range g.ExpressionValues {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("embed: sentence %d, slot %d: expression value is %v: %w", i/g.Length, i%g.Length, v, ErrOption)
		}
	}
	for i, v := range g.Multiplicity {
		if !(v >= 0) || math.IsInf(float64(v), 0) || i%g.Length == 0 && v == 0 {
			return fmt.Errorf("embed: sentence %d, slot %d: multiplicity is %v: %w", i/g.Length, i%g.Length, v, ErrOption)
		}
	}
	return nil
}

// EmbedSentences embeds sentences as they are given.
func (m *Model) EmbedSentences(ctx context.Context, g *Given, out Output) error {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.end()
	if err := m.check(g); err != nil {
		return err
	}
	if err := m.checkOutput(out, g.N); err != nil {
		return err
	}
	how, err := m.plan(g.Threads, g.Length)
	if err != nil {
		return err
	}
	cells := g.BatchSize
	if cells == 0 {
		cells = max(1, how.tokenBudget/g.Length)
	}
	group, running := newGroup(ctx)
	group.SetLimit(how.runners)
	for from := 0; from < g.N && running.Err() == nil; from += cells {
		to := min(from+cells, g.N)
		b := &batch.Batch{
			Length: g.Length, GeneIndices: g.GeneIndices[from*g.Length : to*g.Length],
			ExpressionValues: g.ExpressionValues[from*g.Length : to*g.Length],
		}
		if g.Multiplicity != nil {
			b.Multiplicity = g.Multiplicity[from*g.Length : to*g.Length]
		}
		for row := from; row < to; row++ {
			b.Rows = append(b.Rows, row)
		}
		group.Go(func() error {
			if err := (&runner{model: m, threads: how.threadsPerRun, out: out}).run(running, b); err != nil {
				return err
			}
			if g.Progress != nil {
				g.Progress(len(b.Rows))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	return nil
}

// Stage is an output of the trace graph for sentences of S slots: S or T rows
// (T counts the dataset token, too) of Width values.
type Stage struct {
	Name string
	// WithDataset tells that the dataset token has a row, after the last slot.
	WithDataset bool
	Width       int
}

// rows is how many rows the stage has for a sentence.
func (s Stage) rows(length int) int {
	if s.WithDataset {
		return length + 1
	}
	return length
}

// Stages are the dimension flow from the gene embedding lookup to the head, in
// order.
func (m *Model) Stages() []Stage {
	d := m.Config.Dimensions
	withDataset := d.DatasetDim > 0
	stages := []Stage{{"gene_embedding", false, d.TokenDim}}
	if m.Config.ExpressionEncoding == "scale" {
		stages = append(stages, Stage{"scaled_gene_embedding", false, d.TokenDim})
	}
	stages = append(stages, Stage{"projection", withDataset, d.EmSize}, Stage{"tokens", withDataset, d.EmSize})
	for i := range d.NLayers {
		stages = append(stages, Stage{fmt.Sprintf("layer_%d", i+1), withDataset, d.EmSize})
	}
	return append(stages, Stage{"head", withDataset, d.OutputDim})
}

func (m *Model) checkStages(g *Given, stages [][]float32) error {
	known := m.Stages()
	if len(stages) != len(known) {
		return fmt.Errorf("embed: memory for %d stages, the model has %d: %w", len(stages), len(known), ErrOption)
	}
	for k, stage := range known {
		if needed := g.N * stage.rows(g.Length) * stage.Width; len(stages[k]) != needed {
			return fmt.Errorf("embed: stage %q: memory for %d values, %d are needed: %w", stage.Name, len(stages[k]), needed, ErrOption)
		}
	}
	return nil
}

// Trace runs the unfolded graph on sentences. Memory for each stage, in the
// order of [Model.Stages], is [N, rows, width], row-major.
func (m *Model) Trace(ctx context.Context, g *Given, out Output, stages [][]float32) error {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.end()
	if err := m.check(g); err != nil {
		return err
	}
	if err := m.checkOutput(out, g.N); err != nil {
		return err
	}
	if err := m.checkStages(g, stages); err != nil {
		return err
	}
	how, err := m.plan(g.Threads, g.Length)
	if err != nil {
		return err
	}
	session, err := m.session(ctx, modeldir.Trace, how.threadsPerRun)
	if err != nil {
		return err
	}
	logMultiplicity := make([]float32, g.N*g.Length)
	if g.Multiplicity != nil {
		logMultiplicity = logs(logMultiplicity, g.Multiplicity)
	}
	d := m.Config.Dimensions
	for i := range g.N { // one sentence at a time: a stage of one is 40 MB at full width
		shape, at, end := []int{1, g.Length}, i*g.Length, (i+1)*g.Length
		cls := make([]float32, d.OutputDim)
		outputs := []ort.Tensor{{Shape: []int{1, d.OutputDim}, Float32: cls}}
		if d.DatasetDim > 0 {
			dataset := make([]float32, d.DatasetDim)
			if out.Dataset != nil {
				dataset = out.Dataset[i*d.DatasetDim : (i+1)*d.DatasetDim]
			}
			outputs = append(outputs, ort.Tensor{Shape: []int{1, d.DatasetDim}, Float32: dataset})
		}
		for k, stage := range m.Stages() {
			rows := stage.rows(g.Length)
			size := rows * stage.Width
			outputs = append(outputs, ort.Tensor{Shape: []int{1, rows, stage.Width}, Float32: stages[k][i*size : (i+1)*size]})
		}
		err := session.Run(ctx, []ort.Tensor{
			{Shape: shape, Int32: g.GeneIndices[at:end]},
			{Shape: shape, Float32: g.ExpressionValues[at:end]},
			{Shape: shape, Float32: logMultiplicity[at:end]},
		}, outputs)
		if err != nil {
			return err
		}
		normalise(out.Embedding[i*d.OutputDim:(i+1)*d.OutputDim], cls)
		if g.Progress != nil {
			g.Progress(1)
		}
	}
	return nil
}

package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
)

// sentencesRequest describes sentences made elsewhere, [n_cells, length], and
// the model that they are for.
type sentencesRequest struct {
	Model            int64  `json:"model"`
	NCells           int    `json:"n_cells"`
	Length           int    `json:"length"`
	GeneIndices      array  `json:"gene_indices"`
	ExpressionValues array  `json:"expression_values"`
	Multiplicity     *array `json:"multiplicity"` // every token once, if left out
}

func (r *sentencesRequest) sentences() (*embed.Model, *embed.Given, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, nil, err
	}
	g := &embed.Given{N: r.NCells, Length: r.Length}
	if g.GeneIndices, err = typed[int32](r.GeneIndices, "int32"); err != nil {
		return nil, nil, err
	}
	if g.ExpressionValues, err = typed[float32](r.ExpressionValues, "float32"); err != nil {
		return nil, nil, err
	}
	if g.Multiplicity, err = optional[float32](r.Multiplicity, "float32"); err != nil {
		return nil, nil, err
	}
	return m, g, nil
}

// embedSentencesRequest asks for sentences to be embedded.
type embedSentencesRequest struct {
	sentencesRequest
	outputRequest
	BatchSize int `json:"batch_size"`
	Threads   int `json:"threads"`
}

func (r *embedSentencesRequest) work() (work, error) {
	m, g, err := r.sentences()
	if err != nil {
		return nil, err
	}
	g.BatchSize, g.Threads = r.BatchSize, r.Threads
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		g.Progress = j.progress(g.N)
		return nil, m.EmbedSentences(ctx, g, out)
	}, nil
}

// traceRequest asks for every stage of the dimension flow of sentences.
type traceRequest struct {
	sentencesRequest
	outputRequest
	Stages []array `json:"stages"`
}

func (r *traceRequest) work() (work, error) {
	m, g, err := r.sentences()
	if err != nil {
		return nil, err
	}
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	stages := make([][]float32, len(r.Stages))
	for i, a := range r.Stages {
		if stages[i], err = typed[float32](a, "float32"); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, j *job) (any, error) {
		g.Progress = j.progress(g.N)
		return nil, m.Trace(ctx, g, out, stages)
	}, nil
}

package pybind

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// request is what a job is asked to do: the fields that its kind needs.
type request struct {
	Model int64 `json:"model"`

	// cells
	Matrix     matrix `json:"matrix"`
	Tokens     array  `json:"tokens"`
	FirstRow   int    `json:"first_row"`
	Fill       string `json:"fill"`
	Seed       uint64 `json:"seed"`
	Expression string `json:"expression"`
	Share      *array `json:"share"`

	// sentences, to read or to write
	NCells           int    `json:"n_cells"`
	Length           int    `json:"length"`
	GeneIndices      array  `json:"gene_indices"`
	ExpressionValues array  `json:"expression_values"`
	Multiplicity     *array `json:"multiplicity"`
	Lengths          array  `json:"lengths"`

	// execution
	BatchSize int `json:"batch_size"`
	Threads   int `json:"threads"`

	// output
	Embedding array   `json:"embedding"`
	Dataset   *array  `json:"dataset_embedding"`
	Stages    []array `json:"stages"`

	// neighbours and label transfer
	Queries      array  `json:"queries"`
	Reference    array  `json:"reference"`
	Width        int    `json:"width"`
	K            int    `json:"k"`
	LeaveOutSelf bool   `json:"leave_out_self"`
	Labels       array  `json:"labels"`
	NLabels      int    `json:"n_labels"`
	Weights      string `json:"weights"`
	Indices      array  `json:"indices"`
	Distances    array  `json:"distances"`
	Winners      array  `json:"winners"`
	Confidence   array  `json:"confidence"`

	// genes: their tokens; what is predicted for them, or their embeddings
	Genes     *array `json:"genes"`
	ReadDepth *array `json:"read_depth"`
	Output    array  `json:"output"`
	Slots     int    `json:"slots"`

	// conversion
	Source            string `json:"source"`
	Destination       string `json:"destination"`
	Name              string `json:"name"`
	Config            string `json:"config"`
	ProteinEmbeddings string `json:"protein_embeddings"`
	Checkpoint        string `json:"checkpoint"`
	Overwrite         bool   `json:"overwrite"`
}

// Start begins a job and returns its handle. The kinds: "embed", "plan"
// (resolve the fill policy and tell the longest sentence), "tokenize",
// "embed_sentences", "trace", "contextual", "gene_embeddings", "decode",
// "nearest", "transfer", "convert". Requests that make no sense fail here or in
// [Finish].
func Start(kind, requestJSON string) (handle int64, err error) {
	defer export(&err)
	r := &request{}
	if err := fromJSON(requestJSON, r); err != nil {
		return 0, err
	}
	kinds := map[string]func(*request) (work, error){
		"embed": (*request).embed, "plan": (*request).plan, "tokenize": (*request).tokenize,
		"embed_sentences": (*request).embedSentences, "trace": (*request).trace, "contextual": (*request).contextual,
		"gene_embeddings": (*request).geneEmbeddings, "decode": (*request).decode, "nearest": (*request).nearest,
		"transfer": (*request).transfer, "convert": (*request).convert,
	}
	prepare, known := kinds[kind]
	if !known {
		return 0, fmt.Errorf("pybind: a job of kind %q: %w", kind, errMemory)
	}
	w, err := prepare(r)
	if err != nil {
		return 0, err
	}
	return begin(w), nil
}

// cells reads the part of a request that describes cells.
func (r *request) cells() (*embed.Model, *embed.Cells, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, nil, err
	}
	c := &embed.Cells{FirstRow: r.FirstRow, Seed: r.Seed, BatchSize: r.BatchSize, Threads: r.Threads}
	if c.Matrix, err = r.Matrix.view(); err != nil {
		return nil, nil, err
	}
	if c.Tokens, err = typed[int32](r.Tokens, "int32"); err != nil {
		return nil, nil, err
	}
	if c.Share, err = optional[float32](r.Share, "float32"); err != nil {
		return nil, nil, err
	}
	if c.Fill, err = sentence.ParseFill(r.Fill); err != nil {
		return nil, nil, err
	}
	if c.Scale, err = expression.ParseScale(r.Expression); err != nil {
		return nil, nil, err
	}
	return m, c, nil
}

func (r *request) output() (out embed.Output, err error) {
	if out.Embedding, err = typed[float32](r.Embedding, "float32"); err != nil {
		return out, err
	}
	out.Dataset, err = optional[float32](r.Dataset, "float32")
	return out, err
}

func reportOf(r embed.Report, err error) (any, error) {
	return map[string]any{
		"fill": r.Fill.String(), "n_valid": r.NValid, "n_counts": r.NCounts, "n_log1p": r.NLog1p,
		"n_whole_log1p": r.NWholeLog1p, "n_fractional_counts": r.NFractionalCounts,
		"least_fractional": r.LeastFractional, "most_fractional": r.MostFractional,
		"n_large_log1p": r.NLargeLog1p, "n_log1p_like_counts": r.NLog1pLikeCounts,
		"n_empty": r.NEmpty, "n_negative": r.NNegative, "n_negative_cells": r.NNegativeCells,
	}, err
}

func (r *request) embed() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		j.total.Store(int64(c.Matrix.NCells()))
		c.Progress = func(n int) { j.done.Add(int64(n)) }
		return reportOf(m.Embed(ctx, c, out))
	}, nil
}

func (r *request) plan() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	return func(context.Context, *job) (any, error) {
		p, err := m.Plan(c)
		if err != nil {
			return nil, err
		}
		return map[string]any{"fill": p.Fill().String(), "n_valid": p.NValid(), "max_length": p.MaxLength()}, nil
	}, nil
}

func (r *request) tokenize() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	out := embed.Sentences{Width: r.Length}
	if out.GeneIndices, err = typed[int32](r.GeneIndices, "int32"); err != nil {
		return nil, err
	}
	if out.ExpressionValues, err = typed[float32](r.ExpressionValues, "float32"); err != nil {
		return nil, err
	}
	if out.Multiplicity, err = optional[float32](r.Multiplicity, "float32"); err != nil {
		return nil, err
	}
	if out.Lengths, err = typed[int32](r.Lengths, "int32"); err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		j.total.Store(int64(c.Matrix.NCells()))
		c.Progress = func(n int) { j.done.Add(int64(n)) }
		return reportOf(m.Tokenize(ctx, c, out))
	}, nil
}

// given reads the part of a request that describes sentences.
func (r *request) given(j *job) (*embed.Given, error) {
	g := &embed.Given{N: r.NCells, Length: r.Length, BatchSize: r.BatchSize, Threads: r.Threads}
	var err error
	if g.GeneIndices, err = typed[int32](r.GeneIndices, "int32"); err != nil {
		return nil, err
	}
	if g.ExpressionValues, err = typed[float32](r.ExpressionValues, "float32"); err != nil {
		return nil, err
	}
	if g.Multiplicity, err = optional[float32](r.Multiplicity, "float32"); err != nil {
		return nil, err
	}
	j.total.Store(int64(g.N))
	g.Progress = func(n int) { j.done.Add(int64(n)) }
	return g, nil
}

func (r *request) embedSentences() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		g, err := r.given(j)
		if err != nil {
			return nil, err
		}
		return nil, m.EmbedSentences(ctx, g, out)
	}, nil
}

func (r *request) trace() (work, error) {
	m, err := models.get(r.Model)
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
		g, err := r.given(j)
		if err != nil {
			return nil, err
		}
		return nil, m.Trace(ctx, g, out, stages)
	}, nil
}

func (r *request) convert() (work, error) {
	return func(ctx context.Context, j *job) (any, error) {
		return nil, convert.Convert(ctx, r.Source, r.Destination, convert.Options{
			Options:   checkpoint.Options{Config: r.Config, ProteinEmbeddings: r.ProteinEmbeddings, Name: r.Checkpoint},
			ModelName: r.Name, Overwrite: r.Overwrite,
			Progress: func(done, total int64) {
				j.total.Store(total)
				j.done.Store(done)
			},
		})
	}, nil
}

package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// cellsRequest describes cells, the choices for their sentences, and the model
// that they are for.
type cellsRequest struct {
	Model      int64  `json:"model"`
	Matrix     matrix `json:"matrix"`
	Tokens     array  `json:"tokens"`
	FirstRow   int    `json:"first_row"`
	Fill       string `json:"fill"`
	Seed       uint64 `json:"seed"`
	Expression string `json:"expression"`
	Threads    int    `json:"threads"`
	// Share is memory for the part of each cell's values that the model's genes carry.
	Share *array `json:"share"`
}

func (r *cellsRequest) cells() (*embed.Model, *embed.Cells, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, nil, err
	}
	c := &embed.Cells{FirstRow: r.FirstRow, Seed: r.Seed, Threads: r.Threads}
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

func reportOf(r embed.Report, err error) (any, error) {
	return map[string]any{
		"fill": r.Fill.String(), "n_valid": r.NValid, "n_counts": r.NCounts, "n_log1p": r.NLog1p,
		"n_whole_log1p": r.NWholeLog1p, "n_fractional_counts": r.NFractionalCounts,
		"least_fractional": r.LeastFractional, "most_fractional": r.MostFractional,
		"n_large_log1p": r.NLargeLog1p, "n_log1p_like_counts": r.NLog1pLikeCounts,
		"n_empty": r.NEmpty, "n_negative": r.NNegative, "n_negative_cells": r.NNegativeCells,
		"largest": r.Largest,
	}, err
}

// outputRequest is memory for embeddings.
type outputRequest struct {
	Embedding array  `json:"embedding"`
	Dataset   *array `json:"dataset_embedding"`
}

func (r *outputRequest) output() (out embed.Output, err error) {
	if out.Embedding, err = typed[float32](r.Embedding, "float32"); err != nil {
		return out, err
	}
	out.Dataset, err = optional[float32](r.Dataset, "float32")
	return out, err
}

// embedRequest asks for cells to be embedded.
type embedRequest struct {
	cellsRequest
	outputRequest
	BatchSize int `json:"batch_size"`
}

func (r *embedRequest) work() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	c.BatchSize = r.BatchSize
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		return reportOf(m.Embed(ctx, c, out))
	}, nil
}

// planRequest asks for the fill policy that serves a data set's genes, and for
// the longest sentence that a cell can have.
type planRequest struct {
	Model  int64  `json:"model"`
	Tokens array  `json:"tokens"`
	Fill   string `json:"fill"`
}

func (r *planRequest) work() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	tokens, err := typed[int32](r.Tokens, "int32")
	if err != nil {
		return nil, err
	}
	fill, err := sentence.ParseFill(r.Fill)
	if err != nil {
		return nil, err
	}
	return func(context.Context, *job) (any, error) {
		p, err := m.SentencePlan(tokens, fill, 0, expression.Auto)
		if err != nil {
			return nil, err
		}
		return map[string]any{"fill": p.Fill().String(), "n_valid": p.NValid(), "max_length": p.MaxLength()}, nil
	}, nil
}

// tokenizeRequest asks for the sentences of cells, [n cells, length].
type tokenizeRequest struct {
	cellsRequest
	columnsRequest
	Length           int   `json:"length"`
	GeneIndices      array `json:"gene_indices"`
	ExpressionValues array `json:"expression_values"`
	Multiplicity     array `json:"multiplicity"`
	Lengths          array `json:"lengths"`
}

func (r *tokenizeRequest) work() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	if c.Columns, err = r.columns(); err != nil {
		return nil, err
	}
	out := embed.Sentences{Width: r.Length}
	if out.GeneIndices, err = typed[int32](r.GeneIndices, "int32"); err != nil {
		return nil, err
	}
	if out.ExpressionValues, err = typed[float32](r.ExpressionValues, "float32"); err != nil {
		return nil, err
	}
	if out.Multiplicity, err = typed[float32](r.Multiplicity, "float32"); err != nil {
		return nil, err
	}
	if out.Lengths, err = typed[int32](r.Lengths, "int32"); err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		c.Progress = j.progress(c.Matrix.NCells())
		return reportOf(m.Tokenize(ctx, c, out))
	}, nil
}

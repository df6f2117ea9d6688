package pybind

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/neighbors"
)

// searchRequest describes a search for the nearest cells.
type searchRequest struct {
	Queries      array `json:"queries"`
	Reference    array `json:"reference"`
	Width        int   `json:"width"`
	K            int   `json:"k"`
	LeaveOutSelf bool  `json:"leave_out_self"`
	Threads      int   `json:"threads"`
}

func (r *searchRequest) rows() (queries, reference neighbors.Rows, err error) {
	if queries, err = rows(r.Queries, r.Width); err != nil {
		return queries, reference, err
	}
	reference, err = rows(r.Reference, r.Width)
	return queries, reference, err
}

func rows(a array, width int) (neighbors.Rows, error) {
	values, err := typed[float32](a, "float32")
	if err != nil {
		return neighbors.Rows{}, err
	}
	if width < 1 {
		return neighbors.Rows{}, fmt.Errorf("pybind: rows of width %d: %w", width, neighbors.ErrShape)
	}
	return neighbors.Rows{N: len(values) / width, Width: width, Values: values}, nil
}

// options are those of a search of n queries, and have a job tell its progress.
func (r *searchRequest) options(j *job, nQueries int) neighbors.Options {
	return neighbors.Options{K: r.K, LeaveOutSelf: r.LeaveOutSelf, Threads: r.Threads, Progress: j.progress(nQueries)}
}

// nearestRequest asks for the nearest cells of each cell.
type nearestRequest struct {
	searchRequest
	Indices   array `json:"indices"`
	Distances array `json:"distances"`
}

func (r *nearestRequest) work() (work, error) {
	queries, reference, err := r.rows()
	if err != nil {
		return nil, err
	}
	indices, err := typed[int64](r.Indices, "int64")
	if err != nil {
		return nil, err
	}
	distances, err := typed[float64](r.Distances, "float64")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		return nil, neighbors.Nearest(ctx, queries, reference, r.options(j, queries.N), indices, distances)
	}, nil
}

// transferRequest asks for the label that the nearest cells vote for.
type transferRequest struct {
	searchRequest
	Labels     array  `json:"labels"`
	NLabels    int    `json:"n_labels"`
	Weights    string `json:"weights"`
	Winners    array  `json:"winners"`
	Confidence array  `json:"confidence"`
}

func (r *transferRequest) work() (work, error) {
	queries, reference, err := r.rows()
	if err != nil {
		return nil, err
	}
	labels := neighbors.Labels{N: r.NLabels}
	if labels.Of, err = typed[int32](r.Labels, "int32"); err != nil {
		return nil, err
	}
	weights, err := neighbors.ParseWeights(r.Weights)
	if err != nil {
		return nil, err
	}
	winners, err := typed[int32](r.Winners, "int32")
	if err != nil {
		return nil, err
	}
	confidence, err := typed[float32](r.Confidence, "float32")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		o := r.options(j, queries.N)
		return nil, neighbors.Transfer(ctx, queries, reference, labels, weights, o, winners, confidence)
	}, nil
}

package pybind

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/neighbors"
)

// rowsRequest describes rows of a set of embeddings, float32 [n, width], and
// their places in the set; those of a reference that are not to be looked at
// have a negative number.
type rowsRequest struct {
	Values  array `json:"values"`
	Width   int   `json:"width"`
	Numbers array `json:"numbers"`
}

func (r rowsRequest) rows() (neighbors.Rows, error) {
	values, err := typed[float32](r.Values, "float32")
	if err != nil {
		return neighbors.Rows{}, err
	}
	if r.Width < 1 {
		return neighbors.Rows{}, fmt.Errorf("pybind: rows of width %d: %w", r.Width, neighbors.ErrShape)
	}
	numbers, err := typed[int64](r.Numbers, "int64")
	return neighbors.Rows{N: len(values) / r.Width, Width: r.Width, Values: values, Numbers: numbers}, err
}

// nearestRequest goes on with a search for the nearest cells of each cell, in
// some rows of the reference. Indices and distances are what earlier jobs have
// written; at first, every distance is infinite.
type nearestRequest struct {
	Queries      rowsRequest `json:"queries"`
	Reference    rowsRequest `json:"reference"`
	K            int         `json:"k"`
	LeaveOutSelf bool        `json:"leave_out_self"`
	Threads      int         `json:"threads"`
	Indices      array       `json:"indices"`
	Distances    array       `json:"distances"`
}

func (r *nearestRequest) work() (work, error) {
	queries, err := r.Queries.rows()
	if err != nil {
		return nil, err
	}
	reference, err := r.Reference.rows()
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
		o := neighbors.Options{K: r.K, LeaveOutSelf: r.LeaveOutSelf, Threads: r.Threads, Progress: j.progress(queries.N)}
		return nil, neighbors.Add(ctx, queries, reference, o, indices, distances)
	}, nil
}

// voteRequest asks for the label that the nearest cells vote for: indices and
// distances are what jobs of kind "nearest" have written, labels are those of
// all cells of the reference.
type voteRequest struct {
	Indices    array  `json:"indices"`
	Distances  array  `json:"distances"`
	Labels     array  `json:"labels"`
	NLabels    int    `json:"n_labels"`
	Weights    string `json:"weights"`
	Winners    array  `json:"winners"`
	Confidence array  `json:"confidence"`
}

func (r *voteRequest) work() (work, error) {
	indices, err := typed[int64](r.Indices, "int64")
	if err != nil {
		return nil, err
	}
	distances, err := typed[float64](r.Distances, "float64")
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
	return func(context.Context, *job) (any, error) {
		return nil, neighbors.Vote(indices, distances, labels, weights, winners, confidence)
	}, nil
}

package neighbors

import (
	"context"
	"fmt"
)

// Weights says how much the vote of a neighbour counts.
type Weights int

const (
	// Uniform counts every neighbour alike. It is what label transfer in the
	// field does (scanpy's ingest, scikit-learn's default), and the confidence
	// is then the plain share of the K neighbours.
	Uniform Weights = iota
	// Similarity counts a neighbour by 1 - distance, its cosine; below 0 by 0.
	Similarity
)

// ParseWeights reads the name of weights: "uniform" or "similarity".
func ParseWeights(name string) (Weights, error) {
	switch name {
	case "uniform":
		return Uniform, nil
	case "similarity":
		return Similarity, nil
	}
	return 0, fmt.Errorf(`neighbors: weights=%q is not "uniform" or "similarity": %w`, name, ErrOption)
}

func (w Weights) of(distance float64) float64 {
	if w == Uniform {
		return 1
	}
	return max(1-distance, 0)
}

// Labels are the labels of reference rows: a number from 0 to N-1 each, or
// -1 for a row without a label, which is no neighbour of any query.
type Labels struct {
	Of []int32
	N  int
}

// labelled lists the rows that have a label; nil if all have.
func (l Labels) labelled(nRows int) ([]int, error) {
	if len(l.Of) != nRows {
		return nil, fmt.Errorf("neighbors: %d labels for %d reference rows: %w", len(l.Of), nRows, ErrShape)
	}
	rows := make([]int, 0, nRows)
	for row, label := range l.Of {
		switch {
		case int(label) >= l.N || label < -1:
			return nil, fmt.Errorf("neighbors: row %d has label %d, there are %d: %w", row, label, l.N, ErrShape)
		case label >= 0:
			rows = append(rows, row)
		}
	}
	if len(rows) == nRows {
		return nil, nil
	}
	return rows, nil
}

// Transfer gives every query the label that has most weight among its K
// nearest labelled reference rows, ties by the lower label; its confidence,
// from 0 to 1, is the share of that weight. Where no neighbour has any weight
// (Similarity, and none at less than a right angle) the label is -1 and the
// confidence 0. Written are [queries.N] of both.
//
// It fails as [Nearest] does.
func Transfer(ctx context.Context, queries, reference Rows, labels Labels, w Weights, o Options,
	winners []int32, confidence []float32,
) error {
	if len(winners) != queries.N || len(confidence) != queries.N {
		return fmt.Errorf("neighbors: memory for %d labels and %d confidences, there are %d queries: %w",
			len(winners), len(confidence), queries.N, ErrShape)
	}
	if w != Uniform && w != Similarity {
		return fmt.Errorf("neighbors: weights %d are neither uniform nor by similarity: %w", int(w), ErrOption)
	}
	among, err := labels.labelled(reference.N)
	if err != nil {
		return err
	}
	s, err := newSearch(queries, reference, among, o)
	if err != nil {
		return err
	}
	return s.run(ctx, func() visitor {
		b := ballot{weight: make([]float64, labels.N)}
		return func(query int, nearest []candidate) {
			for _, c := range nearest {
				b.cast(labels.Of[c.row], w.of(c.distance))
			}
			winners[query], confidence[query] = b.decide()
		}
	})
}

// ballot counts the votes for one query.
type ballot struct {
	weight []float64 // of each label
	named  []int32   // labels that have a vote
	total  float64
}

func (b *ballot) cast(label int32, weight float64) {
	if weight == 0 {
		return
	}
	if b.weight[label] == 0 {
		b.named = append(b.named, label)
	}
	b.weight[label] += weight
	b.total += weight
}

// decide names the winner and its share, and empties the ballot.
func (b *ballot) decide() (winner int32, share float32) {
	winner = -1
	for _, label := range b.named {
		if winner < 0 || b.weight[label] > b.weight[winner] ||
			b.weight[label] == b.weight[winner] && label < winner {
			winner = label
		}
	}
	if winner >= 0 {
		share = float32(b.weight[winner] / b.total)
	}
	for _, label := range b.named {
		b.weight[label] = 0
	}
	b.named, b.total = b.named[:0], 0
	return winner, share
}

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

// maxLabels is more than any reference has: there is a number for each while votes
// are counted.
const maxLabels = 1 << 24

func (l Labels) check(nRows int) error {
	if l.N < 0 || l.N > maxLabels {
		return fmt.Errorf("neighbors: %d labels, which are not from 0 to %d: %w", l.N, maxLabels, ErrShape)
	}
	if len(l.Of) != nRows {
		return fmt.Errorf("neighbors: %d labels for %d reference rows: %w", len(l.Of), nRows, ErrShape)
	}
	for row, label := range l.Of {
		if int(label) >= l.N || label < -1 {
			return fmt.Errorf("neighbors: row %d has label %d, there are %d: %w", row, label, l.N, ErrShape)
		}
	}
	return nil
}

// Transfer gives every query the label that has most weight among its K
// nearest labelled reference rows (see [Vote]). Rows without a label are never
// looked at. Written are [queries.N] labels and confidences.
//
// It fails as [Nearest] does.
func Transfer(ctx context.Context, queries, reference Rows, labels Labels, w Weights, o Options,
	winners []int32, confidence []float32,
) error {
	if err := labels.check(reference.N); err != nil {
		return err
	}
	labelled := reference
	labelled.Numbers = make([]int64, reference.N)
	for row, label := range labels.Of {
		if labelled.Numbers[row] = int64(row); label < 0 {
			labelled.Numbers[row] = -1
		}
	}
	if o.K < 1 || o.K > reference.N {
		return fmt.Errorf("neighbors: K=%d is not from 1 to %d, the rows to choose from: %w", o.K, reference.N, ErrOption)
	}
	indices, distances := make([]int64, queries.N*o.K), make([]float64, queries.N*o.K)
	if err := Nearest(ctx, queries, labelled, o, indices, distances); err != nil {
		return err
	}
	return Vote(indices, distances, labels, w, winners, confidence)
}

// Vote gives every query the label that has most weight among its nearest rows,
// which [Nearest] or [Add] has written, ties by the lower label; its confidence,
// from 0 to 1, is the share of that weight. Where no neighbour has any weight
// ([Similarity], and none at less than a right angle) the label is -1 and the
// confidence 0. As many queries are voted for as there is memory for winners.
//
// It fails with [ErrShape] or [ErrOption].
func Vote(indices []int64, distances []float64, labels Labels, w Weights, winners []int32, confidence []float32) error {
	n := len(winners)
	if len(confidence) != n || len(distances) != len(indices) || n == 0 || len(indices)%n != 0 {
		return fmt.Errorf("neighbors: memory for %d labels and %d confidences, for %d indices and %d distances: %w",
			n, len(confidence), len(indices), len(distances), ErrShape)
	}
	if w != Uniform && w != Similarity {
		return fmt.Errorf("neighbors: weights %d are neither uniform nor by similarity: %w", int(w), ErrOption)
	}
	if err := labels.check(len(labels.Of)); err != nil {
		return err
	}
	k := len(indices) / n
	b := ballot{weight: make([]float64, labels.N)}
	for query := range n {
		for i := query * k; i < (query+1)*k; i++ {
			row := indices[i]
			if row < 0 || row >= int64(len(labels.Of)) || labels.Of[row] < 0 {
				return fmt.Errorf("neighbors: query %d has neighbour %d, which has no label: %w", query, row, ErrShape)
			}
			b.cast(labels.Of[row], w.of(distances[i]))
		}
		winners[query], confidence[query] = b.decide()
	}
	return nil
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

package neighbors

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
)

// plane makes rows at angles in degrees.
func plane(angles ...float64) Rows {
	r := Rows{N: len(angles), Width: 2}
	for _, a := range angles {
		sin, cos := math.Sincos(a * math.Pi / 180)
		r.Values = append(r.Values, float32(cos), float32(sin))
	}
	return r
}

func transfer(queries, reference Rows, labels Labels, w Weights, o Options) (winners []int32, confidence []float32, err error) {
	winners, confidence = make([]int32, queries.N), make([]float32, queries.N)
	err = Transfer(context.Background(), queries, reference, labels, w, o, winners, confidence)
	return winners, confidence, err
}

func TestTransfer(t *testing.T) {
	cos := func(degrees float64) float64 { return math.Cos(degrees * math.Pi / 180) }
	for _, c := range []struct {
		name       string
		reference  Rows
		labels     []int32
		weights    Weights
		k          int
		winner     int32
		confidence float64
	}{
		{"all agree", plane(1, 2, 3, 90), []int32{2, 2, 2, 0}, Uniform, 3, 2, 1},
		{"a majority", plane(1, 2, 3, 4), []int32{1, 0, 0, 1}, Uniform, 3, 0, 2. / 3},
		{"a tie goes to the first label", plane(1, 2, 3, 4), []int32{2, 1, 2, 1}, Uniform, 4, 1, 0.5},
		{"similarity breaks the tie", plane(10, 50), []int32{2, 1}, Similarity, 2, 2, cos(10) / (cos(10) + cos(50))},
		{"many far ones against a near one", plane(10, 80, 80, 80), []int32{0, 1, 1, 1}, Similarity, 4, 0, cos(10) / (cos(10) + 3*cos(80))},
		{"the same, uniform", plane(10, 80, 80, 80), []int32{0, 1, 1, 1}, Uniform, 4, 1, 0.75},
		{"no vote beyond a right angle", plane(45, 135, 135), []int32{0, 1, 1}, Similarity, 3, 0, 1},
		{"nobody votes", plane(120, 180), []int32{0, 1}, Similarity, 2, -1, 0},
		{"without a label, no neighbour", plane(1, 2, 3, 4, 5), []int32{-1, 1, -1, 0, 0}, Uniform, 3, 0, 2. / 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The second query shows that nothing is left over from the first.
			queries := plane(0, 0)
			winners, confidence, err := transfer(queries, c.reference, Labels{c.labels, 3}, c.weights, Options{K: c.k})
			if err != nil {
				t.Fatal(err)
			}
			for i := range winners {
				if winners[i] != c.winner || math.Abs(float64(confidence[i])-c.confidence) > 1e-6 {
					t.Errorf("query %d: label %d with %v, want %d with %v", i, winners[i], confidence[i], c.winner, c.confidence)
				}
			}
		})
	}
}

// What has no label is no neighbour, wherever it stands, and is never looked at.
func TestTransferAmongTheLabelled(t *testing.T) {
	reference, queries := gaussian(1, 500, 30, 0), gaussian(2, 200, 30, 0)
	labels, labelled := make([]int32, 500), Rows{Width: 30}
	var left []int32
	for i := range labels {
		if labels[i] = int32(i%7) - 1; labels[i] >= 0 {
			left = append(left, labels[i])
			labelled.Values = append(labelled.Values, reference.row(i)...)
		} else {
			reference.row(i)[3] = float32(math.NaN())
		}
	}
	labelled.N = len(left)
	for _, w := range []Weights{Uniform, Similarity} {
		want, wantConfidence, err := transfer(queries, labelled, Labels{left, 6}, w, Options{K: 15})
		if err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 2, 5} {
			winners, confidence, err := transfer(queries, reference, Labels{labels, 6}, w, Options{K: 15, Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(winners, want) || !slices.Equal(confidence, wantConfidence) {
				t.Errorf("weights %v, %d threads: another result", w, threads)
			}
		}
	}
}

func TestTransferWithinASet(t *testing.T) {
	rows := plane(0, 1, 50, 51)
	winners, _, err := transfer(rows, rows, Labels{[]int32{0, 1, 2, -1}, 3}, Uniform, Options{K: 1, LeaveOutSelf: true})
	if want := []int32{1, 0, 1, 2}; err != nil || !slices.Equal(winners, want) {
		t.Errorf("labels %v, error %v, want %v", winners, err, want)
	}
}

func TestTransfersThatCannotBe(t *testing.T) {
	rows := plane(0, 1, 2)
	for _, c := range []struct {
		name   string
		labels Labels
		k      int
		want   error
	}{
		{"fewer labels than rows", Labels{[]int32{0, 1}, 2}, 1, ErrShape},
		{"a label past the last", Labels{[]int32{0, 1, 2}, 2}, 1, ErrShape},
		{"a label below none", Labels{[]int32{0, 1, -2}, 2}, 1, ErrShape},
		{"no labels", Labels{[]int32{-1, -1, -1}, 2}, 1, ErrOption},
		{"fewer labelled than K", Labels{[]int32{0, 1, -1}, 2}, 3, ErrOption},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := transfer(rows, rows, c.labels, Uniform, Options{K: c.k}); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	for number := range 100 {
		_, _, err := transfer(rows, rows, Labels{[]int32{0, 1, 1}, 2}, Weights(number-50), Options{K: 1})
		if known := number == 50 || number == 51; known && err != nil || !known && !errors.Is(err, ErrOption) {
			t.Errorf("weights %d: %v", number-50, err)
		}
	}
	if _, err := ParseWeights("gaussian"); !errors.Is(err, ErrOption) {
		t.Errorf("error %v, want %v", err, ErrOption)
	}
	err := Transfer(context.Background(), rows, rows, Labels{[]int32{0, 0, 0}, 1}, Uniform, Options{K: 1}, make([]int32, 3), nil)
	if !errors.Is(err, ErrShape) {
		t.Errorf("error %v, want %v", err, ErrShape)
	}
}

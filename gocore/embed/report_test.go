package embed

import (
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// cell has values of a kind, judged to be of one scale and taken for another.
func cell(taken, judged expression.Scale, values ...float32) sentence.Cell {
	return sentence.Cell{Scale: taken, Judged: judged, NExpressed: len(values), Profile: expression.ProfileOf(values)}
}

func TestReportOfEveryKindOfCell(t *testing.T) {
	const counts, log1p = expression.Counts, expression.Log1p
	negative := cell(counts, counts, 50)
	negative.Negative = 3
	cells := []sentence.Cell{
		cell(log1p, log1p, 1.5, 2),   // the usual
		cell(log1p, log1p, 1, 2),     // whole: shallow counts?
		cell(log1p, counts, 99.5),    // larger than any log1p value
		cell(counts, counts, 50, 1),  // the usual
		cell(counts, counts, 50.5),   // normalised, no logarithm
		cell(counts, counts, 70.25),  // the same
		cell(counts, log1p, 1.5),     // looks like log1p values
		cell(counts, log1p, 1, 2),    // whole, so counts all the same
		cell(log1p, log1p), negative, // without expression, so neither; with values below zero
	}
	want := Report{
		NLog1p: 3, NWholeLog1p: 1, NLargeLog1p: 1,
		NCounts: 6, NFractionalCounts: 2, LeastFractional: 50.5, MostFractional: 70.25, NLog1pLikeCounts: 1,
		NEmpty: 1, NNegative: 3, NNegativeCells: 1, Largest: 99.5,
	}
	for split := range len(cells) + 1 { // as two workers may share them
		var a, b Report
		for _, c := range cells[:split] {
			a.add(c)
		}
		for _, c := range cells[split:] {
			b.add(c)
		}
		a.merge(b)
		if a != want {
			t.Fatalf("%d and %d cells: %+v, want %+v", split, len(cells)-split, a, want)
		}
	}
}

func TestShare(t *testing.T) {
	c := cell(expression.Counts, expression.Counts, 3, 5)
	c.ValidTotal = 2
	if got := share(c); got != 0.25 {
		t.Errorf("%v, want 0.25", got)
	}
	if got := share(cell(expression.Counts, expression.Counts)); got != 1 {
		t.Errorf("%v of nothing, want 1", got)
	}
}

package embed

import (
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// Report says what was seen on the way.
type Report struct {
	Fill sentence.Fill
	// NValid is the number of the data set's genes that have a gene token.
	NValid int
	// NCounts and NLog1p are the numbers of cells taken as counts and as
	// log1p values. A cell of zeros is neither.
	NCounts, NLog1p int
	// NWholeLog1p is the number of cells that were taken as log1p values, but
	// hold whole numbers only, as counts do; NFractionalCounts is the number of
	// those taken as counts that hold others.
	NWholeLog1p, NFractionalCounts int
	// LeastFractional and MostFractional are the bounds of the sums over cells
	// taken as counts that hold fractional values: one number where values were
	// normalised, but no logarithm was taken.
	LeastFractional, MostFractional float64
	// NLargeLog1p is the number of cells taken as log1p values that hold values
	// which no log1p value reaches; NLog1pLikeCounts is the number of those
	// taken as counts that look like log1p values.
	NLargeLog1p, NLog1pLikeCounts int
	// NEmpty is the number of cells that express none of the valid genes.
	NEmpty int
	// NNegative is the number of values below zero, taken as zero;
	// NNegativeCells is the number of cells that have any.
	NNegative, NNegativeCells int
	// Largest is the largest value of all.
	Largest float32
}

func (r *Report) add(c sentence.Cell) {
	r.Largest = max(r.Largest, c.Profile.Largest)
	if c.Profile.Largest > 0 { // zero counts and their log1p are the same
		if c.Scale == expression.Log1p {
			r.addLog1p(c)
		} else {
			r.addCounts(c)
		}
	}
	if c.NExpressed == 0 {
		r.NEmpty++
	}
	if c.Negative > 0 {
		r.NNegative += c.Negative
		r.NNegativeCells++
	}
}

func (r *Report) addLog1p(c sentence.Cell) {
	r.NLog1p++
	if c.Profile.Whole {
		r.NWholeLog1p++
	}
	if c.Judged == expression.Counts {
		r.NLargeLog1p++
	}
}

func (r *Report) addCounts(c sentence.Cell) {
	r.NCounts++
	switch {
	case c.Profile.Whole:
	case c.Judged == expression.Log1p:
		r.NLog1pLikeCounts++
	default:
		r.addFractional(1, c.Profile.Total, c.Profile.Total)
	}
}

// addFractional adds cells of fractional values whose sums have these bounds.
func (r *Report) addFractional(n int, least, most float64) {
	if n == 0 {
		return
	}
	if r.NFractionalCounts == 0 {
		r.LeastFractional, r.MostFractional = least, most
	}
	r.NFractionalCounts += n
	r.LeastFractional = min(r.LeastFractional, least)
	r.MostFractional = max(r.MostFractional, most)
}

func (r *Report) merge(o Report) {
	r.addFractional(o.NFractionalCounts, o.LeastFractional, o.MostFractional)
	r.NCounts += o.NCounts
	r.NLog1p += o.NLog1p
	r.NWholeLog1p += o.NWholeLog1p
	r.NLargeLog1p += o.NLargeLog1p
	r.NLog1pLikeCounts += o.NLog1pLikeCounts
	r.NEmpty += o.NEmpty
	r.NNegative += o.NNegative
	r.NNegativeCells += o.NNegativeCells
	r.Largest = max(r.Largest, o.Largest)
}

// share is the part of a cell's summed values that the valid genes carry.
func share(c sentence.Cell) float32 {
	if c.Profile.Total == 0 {
		return 1
	}
	return float32(c.ValidTotal / c.Profile.Total)
}

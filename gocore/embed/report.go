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
}

func (r *Report) add(c sentence.Cell) {
	whole := c.Profile.Whole
	switch {
	case c.Profile.Largest == 0: // zero counts and their log1p are the same
	case c.Scale == expression.Log1p:
		r.NLog1p++
		if whole {
			r.NWholeLog1p++
		}
		if c.Judged == expression.Counts {
			r.NLargeLog1p++
		}
	default:
		r.NCounts++
		if whole {
			break
		}
		if c.Judged == expression.Log1p {
			r.NLog1pLikeCounts++
			break
		}
		if r.NFractionalCounts == 0 {
			r.LeastFractional, r.MostFractional = c.Profile.Total, c.Profile.Total
		}
		r.NFractionalCounts++
		r.LeastFractional = min(r.LeastFractional, c.Profile.Total)
		r.MostFractional = max(r.MostFractional, c.Profile.Total)
	}
	if c.NExpressed == 0 {
		r.NEmpty++
	}
	if c.Negative > 0 {
		r.NNegative += c.Negative
		r.NNegativeCells++
	}
}

func (r *Report) merge(o Report) {
	if o.NFractionalCounts > 0 {
		if r.NFractionalCounts == 0 {
			r.LeastFractional, r.MostFractional = o.LeastFractional, o.MostFractional
		}
		r.LeastFractional = min(r.LeastFractional, o.LeastFractional)
		r.MostFractional = max(r.MostFractional, o.MostFractional)
	}
	r.NCounts += o.NCounts
	r.NLog1p += o.NLog1p
	r.NWholeLog1p += o.NWholeLog1p
	r.NFractionalCounts += o.NFractionalCounts
	r.NLargeLog1p += o.NLargeLog1p
	r.NLog1pLikeCounts += o.NLog1pLikeCounts
	r.NEmpty += o.NEmpty
	r.NNegative += o.NNegative
	r.NNegativeCells += o.NNegativeCells
}

// share is the part of a cell's summed values that the valid genes carry.
func share(c sentence.Cell) float32 {
	if c.Profile.Total == 0 {
		return 1
	}
	return float32(c.ValidTotal / c.Profile.Total)
}

package expression

import (
	"errors"
	"fmt"
	"math"
)

// Scale says what the values of a cell are.
type Scale uint8

const (
	// Auto is not a scale of values: it asks for the reference's decision.
	Auto Scale = iota
	// Counts are raw counts.
	Counts
	// Log1p are log(1 + count) values, normalised or not.
	Log1p
)

// ErrScale: the name of a scale is not known.
var ErrScale = errors.New("unknown expression scale")

// ParseScale reads "auto", "counts" or "log1p".
func ParseScale(name string) (Scale, error) {
	for scale := Auto; scale <= Log1p; scale++ {
		if scale.String() == name {
			return scale, nil
		}
	}
	return 0, fmt.Errorf("expression=%q is not one of \"auto\", \"counts\", \"log1p\": %w", name, ErrScale)
}

func (s Scale) String() string {
	switch s {
	case Auto:
		return "auto"
	case Counts:
		return "counts"
	case Log1p:
		return "log1p"
	}
	return fmt.Sprintf("Scale(%d)", uint8(s))
}

// The thresholds of the reference's decision (arc-state 0.11.1, the loader's
// heuristic for raw counts).
const (
	rawMaximum  = 35        // a value above it can't be a log1p value
	rawTotalUMI = 5_000_000 // more molecules than this in one cell: the values were counts
)

// Judge decides as the reference does whether one cell's values, over all
// genes of the data set, are raw counts or log1p values: counts if the maximum
// is above 35, or if undoing log1p gives more than 5,000,000 molecules.
//
// The total is added up in fixed point, so that it depends neither on the
// order of the genes nor on the type of the values.
func Judge(values []float32) Scale { return ProfileOf(values).Judge(values) }

// Profile is what one look over a cell's values tells.
type Profile struct {
	// Largest is the largest value.
	Largest float32
	// Total is the sum of the values.
	Total float64
	// Whole tells that all values are whole numbers, as counts are.
	Whole bool
}

// ProfileOf looks over a cell's values, which are positive.
func ProfileOf(values []float32) Profile {
	p := Profile{Whole: true}
	for _, v := range values {
		p.Largest = max(p.Largest, v)
		p.Total += float64(v)
		// From 2^23 on every float32 is a whole number.
		p.Whole = p.Whole && (v >= 1<<23 || float32(int32(v)) == v)
	}
	return p
}

// Judge is the decision of the function [Judge] about the values that were
// looked over.
func (p Profile) Judge(values []float32) Scale {
	if p.Largest > rawMaximum {
		return Counts
	}
	// Bounds settle nearly every cell without a single exponential more.
	top := math.Expm1(float64(p.Largest))
	if top >= rawTotalUMI+1 {
		return Counts
	}
	if top*float64(len(values)) <= rawTotalUMI {
		return Log1p
	}
	const unit = 1 << 20
	var total uint64 // each term is below 5,000,001 units, and so is the total before it is added
	for _, v := range values {
		total += uint64(math.Expm1(float64(v))*unit + 0.5)
		if total >= (rawTotalUMI+1)*unit {
			return Counts
		}
	}
	return Log1p
}

// log1pOfCount holds log1p of the counts that make up nearly all of a raw
// matrix.
var log1pOfCount = func() (table [4096]float32) {
	for count := range table {
		table[count] = float32(math.Log1p(float64(count)))
	}
	return table
}()

// Log1pOf is log(1 + v) rounded to float32.
func Log1pOf(v float32) float32 {
	if count := int32(v); uint32(count) < uint32(len(log1pOfCount)) && float32(count) == v {
		return log1pOfCount[count]
	}
	return float32(math.Log1p(float64(v)))
}

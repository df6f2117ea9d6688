package neighbors

import "math"

// centred are rows of unit length (those of zeros stay so), less a common
// centre c, in float32. With u = q - c and v = r - c, the cosine of q and r is
//
//	u·v + q·c + r·c - c·c.
//
// Only u·v is computed in float32, with an error in proportion to |u| |v|.
type centred struct {
	values  []float32 // [n, width]
	along   []float64 // [n], row·c
	lengths []float64 // [n], at least |row - c|
}

func newCentred(n, width int) centred {
	return centred{values: make([]float32, n*width), along: make([]float64, n), lengths: make([]float64, n)}
}

// fill takes rows from … to-1, to places 0 … of its own.
func (c centred) fill(rows Rows, norms []float64, from, to int, o origin, threads int) error {
	width := rows.Width
	return share(threads, to-from, func(first, last int) {
		for i := first; i < last; i++ {
			row, out := rows.row(from + i)[:width], c.values[i*width:][:width]
			scale := inverseRoot(norms[from+i])
			for column, at := range o.centre[:width] {
				out[column] = float32(float64(row[column])*scale - float64(at))
			}
			c.along[i] = dot(row, o.centre) * scale
			// |row - c|² of a row of length 1; that of zeros is shorter. What rounding
			// may have taken off is made good.
			c.lengths[i] = math.Sqrt(max(0, 1-2*c.along[i]+o.square) + 1e-9)
		}
	})
}

// origin is the centre of rows, and its squared length.
type origin struct {
	centre []float32
	square float64
}

// sampled is how many rows of a block its centre is made of.
const sampled = 256

// centreOf is about the mean of rows of unit length. Whatever it is, it changes no
// result.
func centreOf(rows Rows, norms []float64) origin {
	sum := make([]float64, rows.Width)
	n := 0
	for i := 0; i < rows.N; i += (rows.N + sampled - 1) / sampled {
		if norms[i] == 0 { // a row of zeros, or one that is not looked at
			continue
		}
		n++
		scale := inverseRoot(norms[i])
		for column, v := range rows.row(i) {
			sum[column] += float64(v) * scale
		}
	}
	centre := make([]float32, rows.Width)
	for column, v := range sum {
		centre[column] = float32(v / float64(max(n, 1)))
	}
	return origin{centre, dot(centre, centre)}
}

// inverseRoot is what brings a row to unit length; a row of zeros stays one.
func inverseRoot(squaredNorm float64) float64 {
	if squaredNorm == 0 {
		return 0
	}
	return 1 / math.Sqrt(squaredNorm)
}

// slack is by how much a cosine may be off: relative is times |u| |v|. In
// whatever order n products are summed in float32, with fused operations or
// without, they are off by at most nε / (1 - nε) times the sum of their
// absolute values (Higham, Accuracy and Stability of Numerical Algorithms, 2nd
// ed., section 3.1), which is at most |u| |v|; rounding u and v adds two ε.
// What is computed in float64, the distance itself included, is within the
// absolute part: five sums of as many products of vectors of length 1 or less.
func slack(width int) (relative, absolute float64) {
	off := float64(width+4) * 0x1p-24
	if off >= 0.5 {
		return 1e300, 0 // rules nothing out
	}
	return off / (1 - off), float64(width+16) * 0x1p-50
}

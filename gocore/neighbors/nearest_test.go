package neighbors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/safego"
)

func rowsOf(rows ...[]float32) Rows {
	return Rows{N: len(rows), Width: len(rows[0]), Values: slices.Concat(rows...)}
}

// gaussian makes random rows around a common centre: with a large offset, all
// rows point almost the same way.
func gaussian(seed uint64, n, width int, offset float64) Rows {
	random := rand.New(rand.NewPCG(seed, 0))
	centre := make([]float64, width)
	for i := range centre {
		centre[i] = offset * random.NormFloat64()
	}
	r := Rows{N: n, Width: width, Values: make([]float32, n*width)}
	for i := range r.Values {
		r.Values[i] = float32(centre[i%width] + random.NormFloat64())
	}
	return r
}

// scaled multiplies row i by factor(i).
func scaled(r Rows, factor func(i int) float32) Rows {
	r.Values = slices.Clone(r.Values)
	for i := range r.Values {
		r.Values[i] *= factor(i / r.Width)
	}
	return r
}

// plain computes every distance, one after the other, and sorts them all.
func plain(queries, reference Rows, k int, leaveOutSelf bool) (indices []int64, distances []float64) {
	unit := func(row []float32) []float64 {
		var squares float64
		for _, v := range row {
			squares += float64(v) * float64(v)
		}
		out := make([]float64, len(row))
		for i, v := range row {
			if squares > 0 {
				out[i] = float64(v) / math.Sqrt(squares)
			}
		}
		return out
	}
	type pair struct {
		row      int
		distance float64
	}
	for q := range queries.N {
		query := unit(queries.row(q))
		var all []pair
		for r := range reference.N {
			if leaveOutSelf && r == q {
				continue
			}
			cosine := 0.0
			for i, v := range unit(reference.row(r)) {
				cosine += query[i] * v
			}
			all = append(all, pair{r, 1 - cosine})
		}
		slices.SortStableFunc(all, func(a, b pair) int {
			switch {
			case a.distance < b.distance:
				return -1
			case a.distance > b.distance:
				return 1
			}
			return 0
		})
		for _, p := range all[:k] {
			indices, distances = append(indices, int64(p.row)), append(distances, p.distance)
		}
	}
	return indices, distances
}

func nearest(t testing.TB, queries, reference Rows, o Options) (indices []int64, distances []float64) {
	t.Helper()
	indices, distances = make([]int64, queries.N*o.K), make([]float64, queries.N*o.K)
	if err := Nearest(context.Background(), queries, reference, o, indices, distances); err != nil {
		t.Fatal(err)
	}
	return indices, distances
}

func TestNearestAgainstEveryDistance(t *testing.T) {
	same := gaussian(1, 160, 50, 0)
	repeated := gaussian(2, 400, 7, 0)
	for i := range repeated.N { // every tenth row is new, the others repeat it
		copy(repeated.row(i), repeated.row(i-i%10))
	}
	for _, c := range []struct {
		name               string
		queries, reference Rows
		k                  int
		leaveOutSelf       bool
	}{
		{"two sets", gaussian(3, 150, 50, 0), same, 15, false},
		{"within a set", same, same, 15, true},
		{"within a set, itself too", same, same, 15, false},
		{"every row", gaussian(3, 5, 50, 0), same, same.N, false},
		{"every other row", same, same, same.N - 1, true},
		{"one query", gaussian(3, 1, 50, 0), same, 4, false},
		{"one reference row", same, gaussian(3, 1, 50, 0), 1, false},
		{"one nearest", same, gaussian(3, 1000, 50, 0), 1, false},
		{"one column", gaussian(4, 20, 1, 0), gaussian(5, 30, 1, 0), 30, false},
		{"many columns", gaussian(4, 40, 611, 0), gaussian(5, 80, 611, 0), 9, false},
		{"rows that repeat", repeated, repeated, 25, true},
		{"almost one direction", gaussian(6, 100, 333, 3000), gaussian(6, 100, 333, 3000), 15, true},
		{"lengths from 1e-30 to 1e30", same, scaled(gaussian(7, 200, 50, 0), func(i int) float32 {
			return float32(math.Pow(10, float64(i%61)-30))
		}), 100, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantIndices, wantDistances := plain(c.queries, c.reference, c.k, c.leaveOutSelf)
			indices, distances := nearest(t, c.queries, c.reference, Options{K: c.k, LeaveOutSelf: c.leaveOutSelf})
			for i := range indices {
				// Sums in another order differ in their last bits; no two rows
				// here do so little, unless they are equal.
				if indices[i] != wantIndices[i] || math.Abs(distances[i]-wantDistances[i]) > 1e-14 {
					t.Fatalf("query %d, neighbour %d: row %d at %v, want %d at %v",
						i/c.k, i%c.k, indices[i], distances[i], wantIndices[i], wantDistances[i])
				}
			}
		})
	}
}

func TestTiesGoToTheLowerRow(t *testing.T) {
	x, y := []float32{1, 2, 3}, []float32{3, -1, 0.5}
	for _, c := range []struct {
		name          string
		query         []float32
		reference     Rows
		wantIndices   []int64
		wantDistances []float64
	}{
		{"equal rows", x, rowsOf(y, x, y, x, x), []int64{1, 3, 4}, []float64{0, 0, 0}},
		{"multiples", x, rowsOf(y, []float32{4, 8, 12}, x, []float32{0.5, 1, 1.5}), []int64{1, 2, 3}, []float64{0, 0, 0}},
		{"opposite", x, rowsOf([]float32{-1, -2, -3}, []float32{-2, -4, -6}, x), []int64{2, 0, 1}, []float64{0, 2, 2}},
		{"rows of zeros", x, rowsOf(make([]float32, 3), []float32{-1, -2, -3}, make([]float32, 3), x), []int64{3, 0, 2}, []float64{0, 1, 1}},
		{"a query of zeros", make([]float32, 3), rowsOf(y, x, make([]float32, 3), y), []int64{0, 1, 2}, []float64{1, 1, 1}},
		{"right angles", []float32{0, 0, 1}, rowsOf([]float32{1, 0, 0}, []float32{0, 1, 0}, []float32{0, 0, -1}, []float32{5, 5, 0}), []int64{0, 1, 3}, []float64{1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			indices, distances := nearest(t, rowsOf(c.query), c.reference, Options{K: 3})
			if !slices.Equal(indices, c.wantIndices) || !slices.Equal(distances, c.wantDistances) {
				t.Errorf("rows %v at %v, want %v at %v", indices, distances, c.wantIndices, c.wantDistances)
			}
		})
	}
}

// Equal rows lie at different alignments when the width is odd.
func TestEqualRowsHaveEqualDistances(t *testing.T) {
	for _, width := range []int{1, 3, 50, 131, 257} {
		row := gaussian(1, 1, width, 0).Values
		reference := Rows{N: 40, Width: width, Values: slices.Repeat(row, 40)}
		_, distances := nearest(t, gaussian(2, 1, width, 0), reference, Options{K: 40})
		if len(slices.Compact(distances)) != 1 {
			t.Errorf("width %d: distances %v to equal rows", width, distances)
		}
		indices, distances := nearest(t, reference, reference, Options{K: 39, LeaveOutSelf: true})
		if slices.Max(distances) != 0 {
			t.Errorf("width %d: equal rows are %v apart", width, slices.Max(distances))
		}
		if want := []int64{0, 1, 3}; !slices.Equal(indices[2*39:2*39+3], want) {
			t.Errorf("width %d: row 2 has neighbours %v first, want %v", width, indices[2*39:2*39+3], want)
		}
	}
}

// products are the ways to multiply; a test of one is skipped where it is not
// there.
var products = map[string]func(testing.TB) multiplier{
	"gonum": func(testing.TB) multiplier { return gonum{} },
	"ONNX Runtime": func(tb testing.TB) multiplier {
		statetest.NeedRuntime(tb)
		product, err := newRuntimeProduct()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { product.close() })
		return product
	},
}

// inTiles searches with blocks of certain sizes and a certain product.
func inTiles(t *testing.T, queries, reference Rows, o Options, tile tiling, product multiplier) (indices []int64, distances []float64) {
	t.Helper()
	s, err := newSearch(queries, reference, o)
	if err != nil {
		t.Fatal(err)
	}
	s.tiling, s.newMultiplier = tile, func() (multiplier, error) { return unclosed{product}, nil }
	indices, distances = make([]int64, queries.N*o.K), make([]float64, queries.N*o.K)
	Blank(indices, distances)
	if err := s.run(t.Context(), indices, distances); err != nil {
		t.Fatal(err)
	}
	return indices, distances
}

type unclosed struct{ multiplier }

func (unclosed) close() error { return nil }

var tilings = []tiling{
	standard, {1, 1, 1, 1, 1}, {7, 5, 3, 2, 4}, {500, 192, 64, 64, 20}, {1000, 1000, 1000, 1000, 7}, {1, 192, 1, 3, 500},
}

func TestThreadsAndBlocksChangeNothing(t *testing.T) {
	for name, product := range products {
		t.Run(name, func(t *testing.T) {
			product := product(t)
			for _, offset := range []float64{0, 3000} {
				queries := gaussian(8, 70, 67, offset)
				wantIndices, wantDistances := plain64(queries, queries, 11, true)
				for _, tile := range tilings {
					for _, threads := range []int{1, 2, 5} {
						o := Options{K: 11, LeaveOutSelf: true, Threads: threads}
						indices, distances := inTiles(t, queries, queries, o, tile, product)
						if !slices.Equal(indices, wantIndices) || !slices.Equal(distances, wantDistances) {
							t.Errorf("offset %v, %+v, %d threads: another result", offset, tile, threads)
						}
					}
				}
			}
		})
	}
}

// plain64 computes every distance as the search does for those that it keeps:
// its results have the same bits.
func plain64(queries, reference Rows, k int, leaveOutSelf bool) (indices []int64, distances []float64) {
	squares := make([]float64, reference.N)
	for r := range squares {
		squares[r] = dot(reference.row(r), reference.row(r))
	}
	for q := range queries.N {
		square := dot(queries.row(q), queries.row(q))
		var all []candidate
		for r := range reference.N {
			if reference.number(r) < 0 || leaveOutSelf && reference.number(r) == queries.number(q) {
				continue
			}
			all = append(all, candidate{cosineDistance(dot(queries.row(q), reference.row(r)), square, squares[r]), reference.number(r)})
		}
		slices.SortFunc(all, byNearness)
		for _, c := range all[:k] {
			indices, distances = append(indices, c.row), append(distances, c.distance)
		}
	}
	return indices, distances
}

// closeRows makes rows that differ by less than float32 can tell of products of
// theirs: each is one of a few rows, with a few values moved by a unit of
// rounding, and some are copies or multiples.
func closeRows(seed uint64, n, width int) Rows {
	random := rand.New(rand.NewPCG(seed, 1))
	rows := gaussian(99, n, width, 100) // the same directions for every seed
	for i := range n {
		row := rows.row(i)
		copy(row, rows.row(i%4))
		for range random.IntN(4) {
			at := random.IntN(width)
			row[at] = math.Nextafter32(row[at], float32(math.Inf(1)))
		}
		if i%9 == 0 {
			for column := range row {
				row[column] *= 0.25
			}
		}
	}
	return rows
}

// What float32 can't tell apart is ranked as in float64, to the last bit.
func TestRowsThatFloat32CannotTellApart(t *testing.T) {
	for name, product := range products {
		t.Run(name, func(t *testing.T) {
			product := product(t)
			for _, width := range []int{3, 64, 517} {
				queries, reference := closeRows(1, 20, width), closeRows(2, 150, width)
				copy(reference.row(17), make([]float32, width)) // and a row of zeros
				copy(queries.row(5), make([]float32, width))
				for _, k := range []int{1, 9, 120} {
					wantIndices, wantDistances := plain64(queries, reference, k, false)
					for _, tile := range tilings {
						indices, distances := inTiles(t, queries, reference, Options{K: k, Threads: 2}, tile, product)
						if !slices.Equal(indices, wantIndices) || !slices.Equal(distances, wantDistances) {
							t.Errorf("width %d, K=%d, %+v: another result", width, k, tile)
						}
					}
				}
			}
		})
	}
}

// A reference in blocks, in whatever order, gives the bits of the whole.
func TestAddInBlocks(t *testing.T) {
	for _, rows := range []Rows{gaussian(3, 300, 40, 5), closeRows(4, 300, 40)} {
		queries := Rows{N: 60, Width: 40, Values: rows.Values[120*40 : 180*40], Numbers: make([]int64, 60)}
		for i := range queries.Numbers {
			queries.Numbers[i] = int64(120 + i)
		}
		rows.Numbers = make([]int64, rows.N)
		for i := range rows.Numbers {
			if rows.Numbers[i] = int64(i); i%11 == 0 {
				rows.Numbers[i] = -1
			}
		}
		o := Options{K: 13, LeaveOutSelf: true}
		wantIndices, wantDistances := plain64(queries, rows, o.K, true)
		for _, size := range []int{1, 7, 120, 300} {
			var firsts []int
			for first := 0; first < rows.N; first += size {
				firsts = append(firsts, first)
			}
			rand.New(rand.NewPCG(uint64(size), 0)).Shuffle(len(firsts), func(i, j int) { firsts[i], firsts[j] = firsts[j], firsts[i] })
			indices, distances := make([]int64, queries.N*o.K), make([]float64, queries.N*o.K)
			Blank(indices, distances)
			for i, first := range firsts {
				last := min(first+size, rows.N)
				block := Rows{N: last - first, Width: 40, Values: rows.Values[first*40 : last*40], Numbers: rows.Numbers[first:last]}
				o.Threads = 1 + i%3
				if err := Add(t.Context(), queries, block, o, indices, distances); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(indices, wantIndices) || !slices.Equal(distances, wantDistances) {
				t.Errorf("blocks of %d: another result", size)
			}
		}
	}
}

func TestAddOfFewerThanKRows(t *testing.T) {
	three := gaussian(1, 3, 4, 0)
	indices, distances := make([]int64, 15), make([]float64, 15)
	Blank(indices, distances)
	if err := Add(t.Context(), three, three, Options{K: 5}, indices, distances); err != nil {
		t.Fatal(err)
	}
	if indices[0] != 0 || !slices.Equal(indices[3:5], []int64{-1, -1}) || !math.IsInf(distances[3], 1) || math.IsInf(distances[2], 1) {
		t.Errorf("nearest %v at %v", indices[:5], distances[:5])
	}
}

func TestPermutingRowsPermutesNeighbours(t *testing.T) {
	reference, queries := gaussian(9, 200, 20, 0), gaussian(10, 30, 20, 0)
	wantIndices, wantDistances := nearest(t, queries, reference, Options{K: 8})
	order := rand.New(rand.NewPCG(1, 1)).Perm(reference.N)
	permuted := Rows{N: reference.N, Width: reference.Width}
	for _, row := range order {
		permuted.Values = append(permuted.Values, reference.row(row)...)
	}
	indices, distances := nearest(t, queries, permuted, Options{K: 8})
	for i, row := range indices {
		if int64(order[row]) != wantIndices[i] || distances[i] != wantDistances[i] {
			t.Fatalf("neighbour %d: row %d at %v, want %d at %v", i, order[row], distances[i], wantIndices[i], wantDistances[i])
		}
	}
}

// Even the worst sum of float32 products stays within the slack, which is small
// where rows point in nearly the same direction.
func TestSlackCoversTheProduct(t *testing.T) {
	for name, product := range products {
		t.Run(name, func(t *testing.T) {
			product := product(t)
			for _, width := range []int{1, 64, 1100} {
				for _, offset := range []float64{0, 1, 3000} {
					rows := gaussian(11, 192, width, offset)
					copy(rows.row(7), make([]float32, width))
					norms, err := squaredNorms(rows, true, 1)
					if err != nil {
						t.Fatal(err)
					}
					centre := centreOf(rows, norms)
					c := newCentred(rows.N, width)
					if err := c.fill(rows, norms, 0, rows.N, centre, 2); err != nil {
						t.Fatal(err)
					}
					out := make([]float32, rows.N*rows.N)
					if err := product.multiply(t.Context(), c.values, c.values, width, out); err != nil {
						t.Fatal(err)
					}
					relative, absolute := slack(width)
					for i := range rows.N {
						for j := range rows.N {
							exact := cosineDistance(dot(rows.row(i), rows.row(j)), norms[i], norms[j])
							cosine := float64(out[i*rows.N+j]) + c.along[i] + c.along[j] - centre.square
							if off, most := math.Abs(1-cosine-exact), absolute+relative*c.lengths[i]*c.lengths[j]; off > most {
								t.Fatalf("width %d, offset %v: cosine off by %v, slack %v", width, offset, off, most)
							}
						}
					}
					if offset == 3000 && width == 1100 && relative*c.lengths[1]*c.lengths[2] > 1e-9 {
						t.Errorf("rows in one direction have the slack %v", relative*c.lengths[1]*c.lengths[2])
					}
				}
			}
		})
	}
	if relative, _ := slack(1 << 24); relative < 1e9 {
		t.Errorf("rows too wide for any bound have the slack %v", relative)
	}
}

func TestSearchesThatCannotBe(t *testing.T) {
	three, wide := gaussian(1, 3, 4, 0), gaussian(1, 3, 5, 0)
	bad := func(v float64) Rows {
		r := gaussian(1, 3, 4, 0)
		r.Values[4+2] = float32(v)
		return r
	}
	for _, c := range []struct {
		name               string
		queries, reference Rows
		options            Options
		want               error
	}{
		{"no nearest", three, three, Options{}, ErrOption},
		{"more than there are", three, three, Options{K: 4}, ErrOption},
		{"more than there are, itself left out", three, three, Options{K: 3, LeaveOutSelf: true}, ErrOption},
		{"negative threads", three, three, Options{K: 1, Threads: -1}, ErrOption},
		{"widths", three, wide, Options{K: 1}, ErrShape},
		{"not the same cells", three, gaussian(1, 4, 4, 0), Options{K: 1, LeaveOutSelf: true}, ErrShape},
		{"no queries", Rows{Width: 4}, three, Options{K: 1}, ErrShape},
		{"no columns", Rows{N: 3}, Rows{N: 3}, Options{K: 1}, ErrShape},
		{"numbers missing", three, Rows{N: 3, Width: 4, Values: three.Values, Numbers: []int64{0, 1}}, Options{K: 1}, ErrShape},
		{"more than are looked at", three, Rows{N: 3, Width: 4, Values: three.Values, Numbers: []int64{0, -1, 2}}, Options{K: 3}, ErrOption},
		{"values missing", three, Rows{N: 3, Width: 4, Values: three.Values[1:]}, Options{K: 1}, ErrShape},
		{"NaN in queries", bad(math.NaN()), three, Options{K: 1}, ErrNotFinite},
		{"infinite in reference", three, bad(math.Inf(-1)), Options{K: 1}, ErrNotFinite},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := c.queries.N * c.options.K
			err := Nearest(context.Background(), c.queries, c.reference, c.options, make([]int64, n), make([]float64, n))
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if at := (*NotFiniteError)(nil); errors.As(err, &at) && (at.Row != 1 || at.Column != 2) {
				t.Errorf("error %v, want row 1, column 2", err)
			}
		})
	}
	t.Run("memory", func(t *testing.T) {
		err := Nearest(context.Background(), three, three, Options{K: 2}, make([]int64, 6), make([]float64, 5))
		if !errors.Is(err, ErrShape) {
			t.Errorf("error %v, want %v", err, ErrShape)
		}
	})
}

func TestCancelAndProgress(t *testing.T) {
	rows := gaussian(1, 1000, 16, 0)
	indices, distances := make([]int64, 1000), make([]float64, 1000)
	done := 0
	o := Options{K: 1, Threads: 1, Progress: func(n int) { done += n }}
	if err := Nearest(context.Background(), rows, rows, o, indices, distances); err != nil || done != 1000 {
		t.Errorf("progress told of %d of 1000 queries, error %v", done, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done = 0
	o.Progress = func(n int) {
		done += n
		cancel()
	}
	err := Nearest(ctx, rows, rows, o, indices, distances)
	if !errors.Is(err, context.Canceled) || done != 500 { // of two tiles
		t.Errorf("cancelled after the first tile: %d queries done, error %v", done, err)
	}
}

// A panic in a goroutine that nobody recovers would end the process.
func TestPanicsBecomeErrors(t *testing.T) {
	rows := gaussian(1, 300, 8, 0)
	indices, distances := make([]int64, rows.N), make([]float64, rows.N)
	labels := Labels{Of: make([]int32, rows.N), N: 1}
	short := Rows{N: 2 * rows.N, Width: rows.Width, Values: rows.Values} // as no caller can make them
	for _, threads := range []int{1, 3} {
		o := Options{K: 1, Threads: threads, Progress: func(int) { panic("a deliberate panic") }}
		quiet := Options{K: 1, Threads: threads}
		_, normsErr := squaredNorms(short, true, threads)
		for _, c := range []struct {
			name, says string
			err        error
		}{
			{"nearest", "a deliberate panic", Nearest(t.Context(), rows, rows, o, indices, distances)},
			{"transfer", "a deliberate panic", Transfer(t.Context(), rows, rows, labels, Uniform, o, make([]int32, rows.N), make([]float32, rows.N))},
			{"norms", "out of range", normsErr},
		} {
			if !errors.Is(c.err, safego.ErrPanic) || !strings.Contains(fmt.Sprint(c.err), c.says) {
				t.Errorf("%s, %d threads: got %v; want one saying %q", c.name, threads, c.err, c.says)
			}
		}
		// What comes after is as good as ever.
		if err := Nearest(t.Context(), rows, rows, quiet, indices, distances); err != nil || indices[7] != 7 {
			t.Errorf("%d threads, afterwards: %v, nearest of row 7 is %d", threads, err, indices[7])
		}
	}
}

func BenchmarkNearest(b *testing.B) {
	for name, product := range products {
		for _, c := range []struct {
			n, width int
			offset   float64
		}{{4000, 50, 0}, {2000, 2048, 0}, {2000, 2048, 100}} {
			b.Run(fmt.Sprintf("%s, %d cells, %d wide, offset %v", name, c.n, c.width, c.offset), func(b *testing.B) {
				rows, product := gaussian(1, c.n, c.width, c.offset), unclosed{product(b)}
				indices, distances := make([]int64, 15*c.n), make([]float64, 15*c.n)
				for b.Loop() {
					s, err := newSearch(rows, rows, Options{K: 15, LeaveOutSelf: true})
					if err != nil {
						b.Fatal(err)
					}
					s.newMultiplier = func() (multiplier, error) { return product, nil }
					Blank(indices, distances)
					if err := s.run(b.Context(), indices, distances); err != nil {
						b.Fatal(err)
					}
				}
				flop := 2 * float64(c.n) * float64(c.n) * float64(c.width) * float64(b.N)
				b.ReportMetric(flop/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				b.ReportMetric(float64(c.n*b.N)/b.Elapsed().Seconds(), "cells/s")
			})
		}
	}
}

package neighbors

import (
	"context"
	"fmt"
	"math"
	goruntime "runtime"
	"sync/atomic"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/se600m/se600m-go/gocore/safego"
)

// tiling is the size of the blocks that a search works in. It changes the
// speed and the memory, never the result.
type tiling struct {
	queryBlock     int // a thread takes as many queries at a time
	referenceBlock int // compared with as many reference rows at a time
	columnBlock    int // multiplied in float32 before float64 takes over
}

// standard keeps a strip of reference rows (96 KiB) in a core's second-level
// cache. 128 queries share the cost of preparing it.
var standard = tiling{queryBlock: 128, referenceBlock: 192, columnBlock: 128}

// gemmRows and a tiling's referenceBlock stay below four blocks of 64 × 64: from
// there on gonum multiplies in goroutines of its own, on all cores.
const gemmRows = 64

// search is a search that was checked and is ready to run.
type search struct {
	Options
	tiling
	queries, reference         Rows
	queryNorms, referenceNorms []float64 // squared
	among                      []int     // reference rows to find; nil: all
	slack                      float64   // most by which a float32 cosine is off
}

// newSearch checks a search. Rows of the reference that aren't among the ones
// to find (nil: all are) are never looked at.
func newSearch(queries, reference Rows, among []int, o Options) (*search, error) {
	if err := queries.check("queries"); err != nil {
		return nil, err
	}
	if err := reference.check("reference"); err != nil {
		return nil, err
	}
	if queries.Width != reference.Width {
		return nil, fmt.Errorf("neighbors: queries are %d wide, the reference %d: %w", queries.Width, reference.Width, ErrShape)
	}
	if o.LeaveOutSelf && queries.N != reference.N {
		return nil, fmt.Errorf("neighbors: %d queries are not the %d reference rows: %w", queries.N, reference.N, ErrShape)
	}
	most := count(among, reference.N)
	if o.LeaveOutSelf {
		most--
	}
	if o.K < 1 || o.K > most {
		return nil, fmt.Errorf("neighbors: K=%d is not from 1 to %d, the rows to choose from: %w", o.K, most, ErrOption)
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, fmt.Errorf("neighbors: threads=%d: %w", o.Threads, ErrOption)
	}
	if o.Threads == 0 {
		o.Threads = goruntime.GOMAXPROCS(0)
	}
	s := &search{Options: o, queries: queries, reference: reference, among: among}
	tile := standard // few queries are spread over the threads
	tile.queryBlock = min(tile.queryBlock, (queries.N+o.Threads-1)/o.Threads)
	s.setTiling(tile)
	var err error
	if s.referenceNorms, err = squaredNorms(reference, among, o.Threads); err != nil {
		return nil, err
	}
	if err := requireFinite(reference, s.referenceNorms, true); err != nil {
		return nil, err
	}
	if s.queryNorms, err = squaredNorms(queries, nil, o.Threads); err != nil {
		return nil, err
	}
	return s, requireFinite(queries, s.queryNorms, false)
}

// setTiling chooses the blocks, and with them the slack: n products of unit
// vectors' elements, summed in float32 in whatever order, are off by at most
// n units of rounding (Higham, Accuracy and Stability of Numerical Algorithms,
// 2nd ed., section 3.1). Rounding the two vectors adds two; the sum over
// strips in float64 and the rest are covered by two more and the 1 %.
func (s *search) setTiling(t tiling) {
	s.tiling = t
	const unit = 0x1p-24
	s.slack = 1.01 * float64(min(t.columnBlock, s.queries.Width)+4) * unit
}

// visitor is given the nearest rows of a query, nearest first.
type visitor func(query int, nearest []candidate)

// run searches. Every thread visits with a visitor of its own.
func (s *search) run(ctx context.Context, newVisitor func() visitor) error {
	var next atomic.Int64
	group, ctx := safego.WithContext(ctx)
	nBlocks := (s.queries.N + s.queryBlock - 1) / s.queryBlock
	for range min(s.Threads, nBlocks) {
		group.Go(func() error {
			w, visit := s.newWorker(), newVisitor()
			for {
				from := int(next.Add(int64(s.queryBlock))) - s.queryBlock
				if from >= s.queries.N {
					return nil
				}
				to := min(from+s.queryBlock, s.queries.N)
				if err := w.scan(ctx, from, to); err != nil {
					return err
				}
				for query := from; query < to; query++ {
					visit(query, w.kept[query-from])
				}
				if s.Progress != nil {
					s.Progress(to - from)
				}
			}
		})
	}
	return group.Wait()
}

// worker is the memory of a thread.
type worker struct {
	*search
	queryRows []float32 // [queryBlock, width], of unit length
	strip     []float32 // [columnBlock, referenceBlock]: reference rows of unit length, on their side
	products  []float32 // [gemmRows, referenceBlock], of one strip
	cosines   []float64 // [queryBlock, referenceBlock]
	kept      []kept    // a heap a query
}

func (s *search) newWorker() *worker {
	nQueries := min(s.queryBlock, s.queries.N)
	w := &worker{
		search:    s,
		queryRows: make([]float32, nQueries*s.queries.Width),
		strip:     make([]float32, s.columnBlock*s.referenceBlock),
		products:  make([]float32, gemmRows*s.referenceBlock),
		cosines:   make([]float64, nQueries*s.referenceBlock),
		kept:      make([]kept, nQueries),
	}
	memory := make([]candidate, nQueries*s.K)
	for i := range w.kept {
		w.kept[i] = memory[i*s.K : (i+1)*s.K]
	}
	return w
}

// scan finds the nearest rows of queries from … to-1.
func (w *worker) scan(ctx context.Context, from, to int) error {
	width := w.reference.Width
	for query := from; query < to; query++ {
		at := (query - from) * width
		toUnit(w.queryRows[at:at+width], w.queries.row(query), w.queryNorms[query])
		w.kept[query-from].clear()
	}
	n := count(w.among, w.reference.N)
	for first := 0; first < n; first += w.referenceBlock {
		if err := ctx.Err(); err != nil {
			return err
		}
		last := min(first+w.referenceBlock, n)
		w.multiply(to-from, first, last)
		for query := from; query < to; query++ {
			at := (query - from) * w.referenceBlock
			w.offer(query, &w.kept[query-from], first, w.cosines[at:at+last-first])
		}
	}
	for i := range to - from {
		w.kept[i].sort()
	}
	return nil
}

// multiply computes the cosines of the queries and some reference rows within
// the slack.
func (w *worker) multiply(nQueries, first, last int) {
	width, n := w.reference.Width, last-first
	clear(w.cosines)
	for column := 0; column < width; column += w.columnBlock {
		nColumns := min(w.columnBlock, width-column)
		for i := range n {
			row := pick(w.among, first+i)
			w.layOnSide(i, w.reference.row(row)[column:column+nColumns], w.referenceNorms[row])
		}
		strip := blas32.General{Rows: nColumns, Cols: n, Stride: w.referenceBlock, Data: w.strip}
		for query := 0; query < nQueries; query += gemmRows {
			nRows := min(gemmRows, nQueries-query)
			rows := blas32.General{Rows: nRows, Cols: nColumns, Stride: width, Data: w.queryRows[query*width+column:]}
			products := blas32.General{Rows: nRows, Cols: n, Stride: w.referenceBlock, Data: w.products}
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, rows, strip, 0, products)
			for i := range nRows {
				sums := w.cosines[(query+i)*w.referenceBlock:][:n]
				for j, product := range w.products[i*w.referenceBlock:][:n] {
					sums[j] += float64(product)
				}
			}
		}
	}
}

// layOnSide writes part of a reference row, scaled to unit length, to column i
// of the strip.
func (w *worker) layOnSide(i int, values []float32, squaredNorm float64) {
	scale := inverseRoot(squaredNorm)
	for column, v := range values {
		w.strip[column*w.referenceBlock+i] = float32(float64(v) * scale)
	}
}

// offer has a query keep the nearest of some reference rows: those whose
// cosine leaves it open are computed in float64.
func (w *worker) offer(query int, k *kept, first int, cosines []float64) {
	row, norm := w.queries.row(query), w.queryNorms[query]
	least := 1 - k.farthest() - w.slack
	for i, cosine := range cosines {
		if cosine < least {
			continue
		}
		at := pick(w.among, first+i)
		if w.LeaveOutSelf && at == query {
			continue
		}
		distance := cosineDistance(dot(row, w.reference.row(at)), norm, w.referenceNorms[at])
		k.offer(candidate{distance, at})
		least = 1 - k.farthest() - w.slack
	}
}

func toUnit(dst, src []float32, squaredNorm float64) {
	scale := inverseRoot(squaredNorm)
	for i, v := range src {
		dst[i] = float32(float64(v) * scale)
	}
}

// inverseRoot is what brings a row to unit length; a row of zeros stays one.
func inverseRoot(squaredNorm float64) float64 {
	if squaredNorm == 0 {
		return 0
	}
	return 1 / math.Sqrt(squaredNorm)
}

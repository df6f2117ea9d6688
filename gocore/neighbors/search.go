package neighbors

import (
	"context"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/se600m/se600m-go/gocore/safego"
)

// tiling is the size of the blocks that a search works in. It changes the
// speed and the memory, never the result.
type tiling struct {
	// Copies are kept of as many rows at a time, for all threads.
	queryBlock, referenceBlock int
	// A thread multiplies as many at a time.
	queryTile, referenceTile int
	// As many rows stay open for every query before they are computed in float64.
	open int
}

// standard keeps 128 MB of copies at SE-600M's width, which are made again for
// 1 % of the time, and a megabyte of products in a core's cache.
var standard = tiling{queryBlock: 8192, referenceBlock: 8192, queryTile: 512, referenceTile: 512, open: 512}

// evenly makes tiles of n queries smaller, so that every thread has as many.
func (t tiling) evenly(n, threads int) tiling {
	n = min(n, t.queryBlock)
	rounds := (n + t.queryTile*threads - 1) / (t.queryTile * threads)
	t.queryTile = (n + rounds*threads - 1) / (rounds * threads)
	return t
}

// search is a search that was checked and is ready to run.
type search struct {
	Options
	tiling
	queries, reference         Rows
	queryNorms, referenceNorms []float64 // squared
	newMultiplier              func() (multiplier, error)
}

// newSearch checks a search.
func newSearch(queries, reference Rows, o Options) (*search, error) {
	if err := queries.check("queries"); err != nil {
		return nil, err
	}
	if err := reference.check("reference"); err != nil {
		return nil, err
	}
	if queries.Width != reference.Width {
		return nil, fmt.Errorf("neighbors: queries are %d wide, the reference %d: %w", queries.Width, reference.Width, ErrShape)
	}
	if o.K < 1 {
		return nil, fmt.Errorf("neighbors: K=%d is less than 1: %w", o.K, ErrOption)
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, fmt.Errorf("neighbors: threads=%d: %w", o.Threads, ErrOption)
	}
	if o.Threads == 0 {
		o.Threads = goruntime.GOMAXPROCS(0)
	}
	s := &search{Options: o, queries: queries, reference: reference, tiling: standard.evenly(queries.N, o.Threads), newMultiplier: newMultiplier}
	var err error
	if s.referenceNorms, err = squaredNorms(reference, true, o.Threads); err != nil {
		return nil, err
	}
	s.queryNorms, err = squaredNorms(queries, false, o.Threads)
	return s, err
}

// run searches, a block of queries and of the reference after the other.
func (s *search) run(ctx context.Context, indices []int64, distances []float64) (err error) {
	// Divided, for a product could overflow: no K is 0, nor is the number of queries.
	if len(indices)/s.K != s.queries.N || len(indices)%s.K != 0 || len(distances) != len(indices) {
		return fmt.Errorf("neighbors: memory for %d indices and %d distances, %d for each of %d queries are needed: %w",
			len(indices), len(distances), s.K, s.queries.N, ErrShape)
	}
	product, err := s.newMultiplier()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, product.close()) }()
	width, centre := s.queries.Width, centreOf(s.reference, s.referenceNorms)
	b := &blocks{
		search: s, product: product, square: centre.square, indices: indices, distances: distances,
		queries:   newCentred(min(s.queryBlock, s.queries.N), width),
		reference: newCentred(min(s.referenceBlock, s.reference.N), width),
		progress:  newProgress(s),
	}
	b.relative, b.absolute = slack(width)
	for b.firstQuery = 0; b.firstQuery < s.queries.N; b.firstQuery = b.lastQuery {
		b.lastQuery = min(b.firstQuery+s.queryBlock, s.queries.N)
		if err := b.queries.fill(s.queries, s.queryNorms, b.firstQuery, b.lastQuery, centre, s.Threads); err != nil {
			return err
		}
		for b.first = 0; b.first < s.reference.N; b.first = b.last {
			b.last = min(b.first+s.referenceBlock, s.reference.N)
			if err := b.reference.fill(s.reference, s.referenceNorms, b.first, b.last, centre, s.Threads); err != nil {
				return err
			}
			if err := b.compare(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// blocks are a block of queries and one of the reference, ready to be compared.
type blocks struct {
	*search
	product               multiplier
	square                float64 // of the centre
	relative, absolute    float64 // see slack
	queries, reference    centred
	firstQuery, lastQuery int
	first, last           int // rows of the reference
	indices               []int64
	distances             []float64
	progress              *progress
}

// compare has all threads compare tiles of the two blocks.
func (b *blocks) compare(ctx context.Context) error {
	var next atomic.Int64
	next.Store(int64(b.firstQuery))
	group, ctx := safego.WithContext(ctx)
	nTiles := (b.lastQuery - b.firstQuery + b.queryTile - 1) / b.queryTile
	for range min(b.Threads, nTiles) {
		group.Go(func() error {
			w := b.newWorker()
			for {
				from := int(next.Add(int64(b.queryTile))) - b.queryTile
				if from >= b.lastQuery {
					return nil
				}
				to := min(from+b.queryTile, b.lastQuery)
				if err := w.scan(ctx, from, to); err != nil {
					return err
				}
				b.progress.add((to - from) * (b.last - b.first))
			}
		})
	}
	return group.Wait()
}

// worker is the memory of a thread.
type worker struct {
	*blocks
	products []float32 // [queryTile, referenceTile]
	sieves   []sieve   // [queryTile]
}

func (b *blocks) newWorker() *worker {
	nQueries := min(b.queryTile, b.lastQuery-b.firstQuery)
	w := &worker{
		blocks:   b,
		products: make([]float32, nQueries*min(b.referenceTile, b.last-b.first)),
		sieves:   make([]sieve, nQueries),
	}
	memory, open := make([]candidate, 2*nQueries*b.K), make([]place, nQueries*b.open)
	for i := range w.sieves {
		at := 2 * i * b.K
		w.sieves[i] = sieve{
			nearest: memory[at : at+b.K], bounds: memory[at+b.K : at+2*b.K], open: open[i*b.open : i*b.open : (i+1)*b.open],
		}
	}
	return w
}

// scan compares queries from … to-1 with all rows of the block.
func (w *worker) scan(ctx context.Context, from, to int) error {
	width := w.search.queries.Width
	rowsOf := func(c centred, from, to int) []float32 { return c.values[from*width : to*width] }
	for query := from; query < to; query++ {
		at := query * w.K
		w.sieves[query-from].begin(w.indices[at:at+w.K], w.distances[at:at+w.K])
	}
	units := rowsOf(w.queries, from-w.firstQuery, to-w.firstQuery)
	for first := w.first; first < w.last; first += w.referenceTile {
		last := min(first+w.referenceTile, w.last)
		n := last - first
		products := w.products[:(to-from)*n]
		if err := w.product.multiply(ctx, units, rowsOf(w.reference, first-w.first, last-w.first), width, products); err != nil {
			return err
		}
		t := w.tileOf(first, last)
		for query := from; query < to; query++ {
			w.offer(query, &w.sieves[query-from], t, products[(query-from)*n:][:n])
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for query := from; query < to; query++ {
		at := query * w.K
		found := &w.sieves[query-from]
		w.settle(query, found)
		found.nearest.store(w.indices[at:at+w.K], w.distances[at:at+w.K])
	}
	return nil
}

// tile is some rows of the reference.
type tile struct {
	first          int
	along, lengths []float64 // see centred
	// No row has more.
	mostAlong, mostLength float64
}

func (b *blocks) tileOf(first, last int) tile {
	t := tile{first: first, along: b.reference.along[first-b.first : last-b.first], lengths: b.reference.lengths[first-b.first : last-b.first]}
	t.mostAlong, t.mostLength = slices.Max(t.along), slices.Max(t.lengths)
	return t
}

// offer has a query's sieve take what may be among the nearest of some rows.
func (w *worker) offer(query int, s *sieve, t tile, products []float32) {
	at := query - w.firstQuery
	// The cosine is the product and along, and this:
	rest := w.queries.along[at] - w.square
	relative := w.relative * w.queries.lengths[at]
	// A product that is less leaves no row of the tile near enough.
	least := func() float32 {
		return below(1 - s.limit() - rest - t.mostAlong - w.absolute - relative*t.mostLength)
	}
	bar := least()
	for i, product := range products {
		if product < bar {
			continue
		}
		row := t.first + i
		number := w.search.reference.number(row)
		if number < 0 || w.LeaveOutSelf && number == w.search.queries.number(query) {
			continue
		}
		s.take(row, 1-(float64(product)+t.along[i]+rest), w.absolute+relative*t.lengths[i])
		if s.full() {
			w.settle(query, s)
		}
		bar = least()
	}
}

// below is a float32 that is certainly less.
func below(v float64) float32 { return math.Nextafter32(float32(v), float32(math.Inf(-1))) }

// settle computes the distances of all rows that are open, and keeps the
// nearest.
func (w *worker) settle(query int, s *sieve) {
	row, norm := w.search.queries.row(query), w.queryNorms[query]
	for _, open := range s.open {
		if open.least > s.limit() {
			continue
		}
		product := dot(row, w.search.reference.row(open.row))
		distance := cosineDistance(product, norm, w.referenceNorms[open.row])
		s.nearest.offer(candidate{distance, w.search.reference.number(open.row)})
	}
	s.settled()
}

// progress turns pairs of rows that were compared into queries that are done.
type progress struct {
	sync.Mutex
	tell              func(nQueries int)
	done, perQuery, n int
}

func newProgress(s *search) *progress {
	return &progress{tell: s.Progress, perQuery: s.reference.N}
}

func (p *progress) add(nPairs int) {
	if p.tell == nil {
		return
	}
	p.Lock()
	defer p.Unlock()
	p.done += nPairs
	if n := p.done / p.perQuery; n > p.n {
		n, p.n = n-p.n, n
		p.tell(n)
	}
}

// share has threads work on parts of n things. Nothing but a panic is an error.
func share(threads, n int, work func(from, to int)) error {
	group := safego.NewGroup()
	threads = min(threads, n)
	for t := range threads {
		group.Go(func() error {
			work(n*t/threads, n*(t+1)/threads)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("neighbors: %w", err)
	}
	return nil
}

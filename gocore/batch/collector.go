package batch

import (
	"slices"
	"sync"

	"github.com/se600m/se600m-go/gocore/sentence"
)

// Pool hands out batches and takes them back. Any goroutine may use it.
type Pool struct {
	layout Layout
	free   chan *Batch
}

// NewPool makes a pool that keeps up to size unused batches.
func NewPool(l Layout, size int) (*Pool, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	return &Pool{layout: l, free: make(chan *Batch, size)}, nil
}

// Layout is what the pool's batches look like.
func (p *Pool) Layout() Layout { return p.layout }

func (p *Pool) get(kind bucket) *Batch {
	var b *Batch
	select {
	case b = <-p.free:
	default:
		b = new(Batch)
	}
	b.reset(p.layout, kind)
	return b
}

// Put gives a batch back after use.
func (p *Pool) Put(b *Batch) {
	select {
	case p.free <- b:
	default: // enough of them lie unused
	}
}

// Collector gathers the sentences that one goroutine makes into batches.
type Collector struct {
	pool    *Pool
	filling map[bucket]*Batch
	draft   sentence.Sentence
}

// NewCollector makes a collector on a pool.
func NewCollector(p *Pool) *Collector {
	c := &Collector{pool: p, filling: map[bucket]*Batch{}}
	if p.layout.Varying {
		c.draft.GeneIndices = make([]int32, p.layout.MaxLength)
		c.draft.ExpressionValues = make([]float32, p.layout.MaxLength)
		c.draft.Multiplicity = make([]float32, p.layout.MaxLength)
	}
	return c
}

// Add has write put one sentence, for the given place in the output, into
// memory and tell its length. It returns a batch that is full thereby, or nil.
func (c *Collector) Add(row int, write func(sentence.Sentence) int) *Batch {
	layout := c.pool.layout
	if !layout.Varying {
		kind := layout.bucket(layout.MaxLength)
		b := c.get(kind)
		slot := b.next(row)
		pad(slot, write(slot), layout.Padding)
		return c.takeIfFull(kind, b)
	}
	// The bucket is known only when the sentence is written.
	length := write(c.draft)
	kind := layout.bucket(length)
	b := c.get(kind)
	slot := b.next(row)
	copy(slot.GeneIndices, c.draft.GeneIndices[:length])
	copy(slot.ExpressionValues, c.draft.ExpressionValues[:length])
	copy(slot.Multiplicity, c.draft.Multiplicity[:length]) // none where no token needs one
	pad(slot, length, layout.Padding)
	return c.takeIfFull(kind, b)
}

func (c *Collector) get(kind bucket) *Batch {
	b := c.filling[kind]
	if b == nil {
		b = c.pool.get(kind)
		c.filling[kind] = b
	}
	return b
}

func (c *Collector) takeIfFull(kind bucket, b *Batch) *Batch {
	if len(b.Rows) < b.capacity {
		return nil
	}
	delete(c.filling, kind)
	return b
}

// Rest returns the batches that are part full, shortest first, and filled up where
// the layout is fixed.
func (c *Collector) Rest() []*Batch {
	rest := make([]*Batch, 0, len(c.filling))
	for _, b := range c.filling {
		rest = append(rest, b)
	}
	clear(c.filling)
	if c.pool.layout.Fixed {
		for _, b := range rest {
			b.fillUp(c.pool.layout.Padding)
		}
	}
	slices.SortFunc(rest, func(a, b *Batch) int { return a.Length - b.Length })
	return rest
}

// Merger joins the batches that several collectors leave part full. Any goroutine
// may use it.
type Merger struct {
	mu        sync.Mutex
	collector *Collector
}

// NewMerger makes a merger on a pool.
func NewMerger(p *Pool) *Merger {
	return &Merger{collector: &Collector{pool: p, filling: map[bucket]*Batch{}}}
}

// Take takes a collector's sentences from it, and returns the batches that are
// full thereby.
func (m *Merger) Take(from *Collector) (full []*Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.collector
	for kind, part := range from.filling {
		if c.filling[kind] == nil {
			c.filling[kind] = part
			continue
		}
		for i, row := range part.Rows {
			b := c.get(kind)
			at, end := i*part.Length, (i+1)*part.Length
			slot := b.next(row)
			copy(slot.GeneIndices, part.GeneIndices[at:end])
			copy(slot.ExpressionValues, part.ExpressionValues[at:end])
			if part.Multiplicity != nil {
				copy(slot.Multiplicity, part.Multiplicity[at:end])
			}
			if b = c.takeIfFull(kind, b); b != nil {
				full = append(full, b)
			}
		}
		c.pool.Put(part)
	}
	clear(from.filling)
	return full
}

// Rest returns the batches that are still part full, as [Collector.Rest] does.
func (m *Merger) Rest() []*Batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.collector.Rest()
}

package sentence

import (
	"math"
	"math/bits"

	"github.com/se600m/se600m-go/gocore/expression"
)

// Sentence is where a worker writes one cell. The caller owns the slices, each
// at least [Plan.MaxLength] long. Multiplicity may be nil where the plan is
// not weighted.
type Sentence struct {
	GeneIndices      []int32
	ExpressionValues []float32
	Multiplicity     []float32
}

// Cell tells what tokenisation saw in a cell.
type Cell struct {
	// Length is the number of slots written, [CLS] included.
	Length int
	// Scale is what the values were taken for: Counts or Log1p. Judged is what
	// they look like, the same unless the caller has decided.
	Scale, Judged expression.Scale
	// NExpressed is the number of expressed valid genes, those left out by
	// the pad length included.
	NExpressed int
	// Negative is the number of values below zero, taken as zero.
	Negative int
	// Profile is what the values over all genes of the data set look like.
	Profile expression.Profile
	// ValidTotal is the part of Profile.Total that valid genes carry.
	ValidTotal float64
}

// Worker tokenises cells one after the other in memory that it reuses.
type Worker struct {
	plan *Plan
	// taken has a bit for each place of the plan: is the gene there expressed,
	// or was it drawn already?
	taken []uint64
	// keys[p] is the key of the value at place p, if that is expressed.
	keys []uint32
	// items are the expressed genes.
	sorter
	log1p []float32 // of items
}

// NewWorker makes a worker for one goroutine.
func (p *Plan) NewWorker() *Worker {
	n := len(p.tokens)
	return &Worker{
		plan: p, taken: make([]uint64, (n+63)/64), keys: make([]uint32, n), log1p: make([]float32, n),
		sorter: sorter{items: make([]item, n), spare: make([]item, n)},
	}
}

// Tokenize writes the sentence of a cell. The row number is the cell's in its
// data set, and matters to [Independent] alone.
func (w *Worker) Tokenize(row *expression.Row, rowNumber int, out Sentence) Cell {
	p := w.plan
	cell := p.judge(row)
	falling := fallingFrom(cell.Profile)
	cell.ValidTotal = w.collect(row, falling)
	w.order(rowNumber)
	cell.NExpressed = len(w.items)
	total := w.takeLogs(falling, cell.Scale)

	// A cell without expression is uniform over its valid genes.
	empty := float32(100 / float64(len(p.tokens)))
	value := func(log1p float32) float32 {
		if total == 0 {
			return empty
		}
		return float32(100 * (float64(log1p) / total))
	}

	nSlots := p.padLength - 1
	first := w.items[:min(len(w.items), nSlots)]
	out.GeneIndices[0] = p.cls
	out.ExpressionValues[0] = value(0)
	if w.isTaken(p.clsPlace) {
		out.ExpressionValues[0] = value(log1pOf(falling.value(w.keys[p.clsPlace]), cell.Scale))
	}
	genes, values := out.GeneIndices[1:1+len(first)], out.ExpressionValues[1:1+len(first)]
	var last, lastValue float32 // equal values stand together
	for i, it := range first {
		genes[i] = p.tokens[it.place]
		if v := w.log1p[i]; v != last {
			last, lastValue = v, value(v)
		}
		values[i] = lastValue
	}
	cell.Length = 1 + len(first)
	unexpressed := len(p.tokens) - len(w.items)
	nFilled := 0
	if p.fill != None && unexpressed > 0 {
		rest := out.GeneIndices[cell.Length:]
		switch free := nSlots - len(first); {
		case free == 0:
		case p.fill == Expected:
			nFilled = w.takeInOrder(rest[:unexpressed])
		case len(p.tokens) < nSlots:
			nFilled = w.drawWithReplacement(rest[:free], rowNumber)
		case p.fill == Shared:
			nFilled = w.takeInOrder(rest[:free])
		default:
			nFilled = w.drawWithoutReplacement(rest[:free], rowNumber)
		}
	}
	fill32(out.ExpressionValues[cell.Length:cell.Length+nFilled], value(0))
	if out.Multiplicity != nil {
		each := float32(1)
		if p.fill == Expected && nFilled > 0 {
			each = float32(float64(nSlots-len(first)) / float64(nFilled))
		}
		fill32(out.Multiplicity[:cell.Length], 1)
		fill32(out.Multiplicity[cell.Length:cell.Length+nFilled], each)
	}
	cell.Length += nFilled
	return cell
}

// falling turns a cell's values into keys that rise as the values fall. Small
// counts become small keys, which sort in one pass.
type falling struct {
	counts bool
	top    uint32 // the code of the largest value
}

func fallingFrom(cell expression.Profile) falling {
	f := falling{counts: cell.Whole && cell.Largest <= digitMask}
	f.top = f.code(cell.Largest)
	return f
}

// code keeps the order of positive values; their bits do, too.
func (f falling) code(value float32) uint32 {
	if f.counts {
		return uint32(int32(value))
	}
	return math.Float32bits(value)
}

func (f falling) key(value float32) uint32 { return f.top - f.code(value) }

func (f falling) value(key uint32) float32 {
	if f.counts {
		return float32(int32(f.top - key))
	}
	return math.Float32frombits(f.top - key)
}

// collect notes which valid genes are expressed and with what value, and
// returns the sum of their values.
func (w *Worker) collect(row *expression.Row, f falling) (total float64) {
	places, taken, keys := w.plan.places, w.taken, w.keys
	clear(taken)
	values := row.Values[:len(row.Columns)]
	for i, column := range row.Columns {
		place := places[column]
		if place == absent {
			continue
		}
		taken[place/64] |= 1 << (place % 64)
		keys[place] = f.key(values[i])
		total += float64(values[i])
	}
	return total
}

// order lists the expressed genes, highest value first. Ties stand in the
// order of places or, under [Independent], in one that is the row's own.
func (w *Worker) order(rowNumber int) {
	items := w.items[:cap(w.items)] // room for every gene
	n := 0
	for at, word := range w.taken {
		for ; word != 0; word &= word - 1 {
			place := 64*at + bits.TrailingZeros64(word)
			items[n] = item{w.keys[place], int32(place)}
			n++
		}
	}
	w.items = items[:n]
	if w.plan.fill == Independent {
		rowKey := uint32(hash2(w.plan.seed, uint64(rowNumber)))
		for i := range w.items {
			w.items[i].key = shuffle32(w.plan.ranks[w.items[i].place], rowKey)
		}
		w.sort()
		for i := range w.items {
			w.items[i].key = w.keys[w.items[i].place]
		}
	}
	w.sort()
}

// takeLogs takes the log1p values of all items, and returns their sum. Its
// order is that of the values, so it depends on nothing else; float64 keeps it
// exact to well below float32's last place.
func (w *Worker) takeLogs(f falling, scale expression.Scale) (total float64) {
	log1p := w.log1p[:len(w.items)]
	var key uint32
	var value float32 // of key, once there was an item
	for i, it := range w.items {
		if i == 0 || it.key != key {
			key, value = it.key, log1pOf(f.value(it.key), scale)
		}
		log1p[i] = value
		total += float64(value)
	}
	return total
}

func log1pOf(value float32, scale expression.Scale) float32 {
	if scale == expression.Counts {
		return expression.Log1pOf(value)
	}
	return value
}

func (w *Worker) isTaken(place int32) bool { return w.taken[place/64]>>(place%64)&1 != 0 }

func (w *Worker) take(place int32) { w.taken[place/64] |= 1 << (place % 64) }

func (w *Worker) free(place int32) { w.taken[place/64] &^= 1 << (place % 64) }

// takeInOrder takes the unexpressed genes that come first in the order shared
// by all cells. There are enough to fill out.
func (w *Worker) takeInOrder(out []int32) int {
	n := 0
	for at := 0; n < len(out); at++ {
		for free := ^w.taken[at]; free != 0 && n < len(out); free &= free - 1 {
			out[n] = w.plan.tokens[64*at+bits.TrailingZeros64(free)]
			n++
		}
	}
	return n
}

// draws is the sequence of random numbers for a cell: one for all cells, or
// one a cell.
func (w *Worker) draws(rowNumber int) stream {
	const salt = 0x66696c6c // keeps the draws apart from the order of genes
	key := hash2(w.plan.seed, salt)
	if w.plan.fill == Independent {
		key = hash2(key, uint64(rowNumber))
	}
	return stream{key: key}
}

// settleRepeated lets the first places of a repeated token be the expressed
// ones. A draw names a place, and which of the token's columns are expressed,
// rather than how many, is a matter of the order of columns.
func (w *Worker) settleRepeated() {
	for _, s := range w.plan.repeated {
		nTaken := 0
		for place := s.from; place < s.to; place++ {
			if w.isTaken(int32(place)) {
				nTaken++
			}
			w.free(int32(place))
		}
		for place := s.from; place < s.from+nTaken; place++ {
			w.take(int32(place))
		}
	}
}

// drawWithReplacement fills all of out from the unexpressed genes. Draws go
// over all valid genes and expressed ones are passed over, so that cells which
// share a stream share its genes.
func (w *Worker) drawWithReplacement(out []int32, rowNumber int) int {
	w.settleRepeated()
	draws := w.draws(rowNumber)
	for n := 0; n < len(out); {
		if place := int32(draws.below(len(w.plan.tokens))); !w.isTaken(place) {
			out[n] = w.plan.tokens[place]
			n++
		}
	}
	return len(out)
}

// drawWithoutReplacement fills all of out with distinct unexpressed genes, of
// which there are enough: it serves data sets with a valid gene for every slot.
func (w *Worker) drawWithoutReplacement(out []int32, rowNumber int) int {
	w.settleRepeated()
	draws := w.draws(rowNumber)
	for n := 0; n < len(out); {
		if place := int32(draws.below(len(w.plan.tokens))); !w.isTaken(place) {
			w.take(place)
			out[n] = w.plan.tokens[place]
			n++
		}
	}
	return len(out)
}

func fill32(out []float32, value float32) {
	for i := range out {
		out[i] = value
	}
}

package sentence

import (
	"math"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/vocabulary"
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

// candidate is an expressed valid gene. The key sorts by falling value, then
// by the order that breaks ties.
type candidate struct {
	key   uint64
	token int32
	value float32 // log1p
}

// Worker tokenises cells one after the other in memory that it reuses.
type Worker struct {
	plan       *Plan
	candidates []candidate
	spare      []candidate
	// taken[c] is the current stamp if column c is in the sentence already.
	taken []uint32
	stamp uint32
}

// NewWorker makes a worker for one goroutine.
func (p *Plan) NewWorker() *Worker {
	return &Worker{plan: p, taken: make([]uint32, len(p.tokens))}
}

// Tokenize writes the sentence of a cell. The row number is the cell's in its
// data set, and matters to [Independent] alone.
func (w *Worker) Tokenize(row *expression.Row, rowNumber int, out Sentence) Cell {
	p := w.plan
	w.stamp++
	if w.stamp == 0 {
		clear(w.taken)
		w.stamp = 1
	}
	cell := Cell{Scale: p.scale, Negative: row.Negative, Profile: expression.ProfileOf(row.Values)}
	// Over all genes of the data set, valid or not, as the reference does.
	cell.Judged = cell.Profile.Judge(row.Values)
	if cell.Scale == expression.Auto {
		cell.Scale = cell.Judged
	}
	clsValue, validTotal := w.collect(row, cell.Scale, rowNumber)
	cell.ValidTotal = validTotal
	cell.NExpressed = len(w.candidates)
	w.sort()

	// The order of the sum is that of the values, so it depends on nothing
	// else; float64 keeps it exact to well below float32's last place.
	var total float64
	for i := range w.candidates {
		total += float64(w.candidates[i].value)
	}
	// A cell without expression is uniform over its valid genes.
	empty := float32(100 / float64(len(p.order)))
	value := func(log1p float32) float32 {
		if total == 0 {
			return empty
		}
		return float32(100 * (float64(log1p) / total))
	}

	nSlots := p.padLength - 1
	taken := w.candidates[:min(len(w.candidates), nSlots)]
	out.GeneIndices[0] = p.cls
	out.ExpressionValues[0] = value(clsValue)
	for i := range taken {
		out.GeneIndices[i+1] = taken[i].token
		out.ExpressionValues[i+1] = value(taken[i].value)
	}
	cell.Length = 1 + len(taken)
	unexpressed := len(p.order) - len(w.candidates)
	nFilled := 0
	if p.fill != None && unexpressed > 0 {
		rest := out.GeneIndices[cell.Length:]
		switch free := nSlots - len(taken); {
		case free == 0:
		case p.fill == Expected:
			nFilled = w.takeInOrder(rest[:unexpressed])
		case len(p.order) < nSlots:
			nFilled = w.drawWithReplacement(rest[:free], rowNumber)
		case p.fill == Shared:
			nFilled = w.takeInOrder(rest[:free])
		default:
			nFilled = w.drawWithoutReplacement(rest[:free], rowNumber)
		}
	}
	unexpressedValue := value(0)
	for i := cell.Length; i < cell.Length+nFilled; i++ {
		out.ExpressionValues[i] = unexpressedValue
	}
	if out.Multiplicity != nil {
		each := float32(1)
		if p.fill == Expected && nFilled > 0 {
			each = float32(float64(nSlots-len(taken)) / float64(nFilled))
		}
		for i := range cell.Length {
			out.Multiplicity[i] = 1
		}
		for i := cell.Length; i < cell.Length+nFilled; i++ {
			out.Multiplicity[i] = each
		}
	}
	cell.Length += nFilled
	return cell
}

// collect gathers the expressed valid genes, marks their columns as taken, and
// returns the log1p value behind the [CLS] slot and the sum of their values as
// they came.
func (w *Worker) collect(row *expression.Row, scale expression.Scale, rowNumber int) (clsValue float32, total float64) {
	p := w.plan
	w.candidates = w.candidates[:0]
	rowKey := uint32(hash2(p.seed, uint64(rowNumber)))
	for i, column := range row.Columns {
		token := p.tokens[column]
		if token == vocabulary.Unknown {
			continue
		}
		raw := row.Values[i]
		value := raw
		if scale == expression.Counts {
			value = expression.Log1pOf(raw)
		}
		tie := p.rank[column]
		if p.fill == Independent {
			tie = shuffle32(tie, rowKey)
		}
		// Positive floats sort as their bits do, log1p keeps the order, and
		// falling order is the complement.
		w.candidates = append(w.candidates, candidate{uint64(^math.Float32bits(raw))<<32 | uint64(tie), token, value})
		w.taken[column] = w.stamp
		total += float64(raw)
		if column == p.clsColumn {
			clsValue = value
		}
	}
	return clsValue, total
}

// takeInOrder takes the unexpressed genes that come first in the order shared
// by all cells.
func (w *Worker) takeInOrder(out []int32) int {
	n := 0
	for _, column := range w.plan.order {
		if n == len(out) {
			break
		}
		if w.taken[column] != w.stamp {
			out[n] = w.plan.tokens[column]
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

// drawWithReplacement fills all of out from the unexpressed genes. Draws go
// over all valid genes and expressed ones are passed over, so that cells which
// share a stream share its genes.
func (w *Worker) drawWithReplacement(out []int32, rowNumber int) int {
	draws := w.draws(rowNumber)
	for n := 0; n < len(out); {
		column := w.plan.order[draws.below(len(w.plan.order))]
		if w.taken[column] != w.stamp {
			out[n] = w.plan.tokens[column]
			n++
		}
	}
	return len(out)
}

// drawWithoutReplacement fills all of out with distinct unexpressed genes, of
// which there are enough: it serves data sets with a valid gene for every slot.
func (w *Worker) drawWithoutReplacement(out []int32, rowNumber int) int {
	draws := w.draws(rowNumber)
	for n := 0; n < len(out); {
		column := w.plan.order[draws.below(len(w.plan.order))]
		if w.taken[column] != w.stamp {
			w.taken[column] = w.stamp
			out[n] = w.plan.tokens[column]
			n++
		}
	}
	return len(out)
}

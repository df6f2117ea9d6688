package embed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/safego"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// Cells are cells to embed or to tokenise, with the choices for their sentences.
type Cells struct {
	Matrix expression.Matrix
	// Tokens has the gene token of every column (see package vocabulary).
	Tokens []int32
	// FirstRow is the number of the matrix's first cell in its data set.
	FirstRow int
	Fill     sentence.Fill
	Seed     uint64
	Scale    expression.Scale
	// BatchSize is the number of cells a batch; 0 lets the model decide.
	BatchSize int
	// Threads to use in all; 0 means all cores.
	Threads int
	// Share, if not nil, takes one number a cell: the share of the cell's summed
	// values that the valid genes carry (1 for a cell of zeros).
	Share []float32
	// Columns takes what is seen in each column; empty where nobody asks.
	Columns Columns
	// Progress is told how many more cells are done.
	Progress func(nCells int)
}

// Plan makes the sentence plan for cells.
func (m *Model) Plan(c *Cells) (*sentence.Plan, error) {
	if c.Matrix.NGenes() != len(c.Tokens) {
		return nil, fmt.Errorf("embed: %d columns, but gene tokens for %d: %w", c.Matrix.NGenes(), len(c.Tokens), ErrOption)
	}
	if c.BatchSize < 0 || c.BatchSize > 1<<20 {
		return nil, fmt.Errorf("embed: batch_size=%d: %w", c.BatchSize, ErrOption)
	}
	if c.Share != nil && len(c.Share) != c.Matrix.NCells() {
		return nil, fmt.Errorf("embed: shares for %d of %d cells: %w", len(c.Share), c.Matrix.NCells(), ErrOption)
	}
	if err := c.Columns.check(len(c.Tokens)); err != nil {
		return nil, err
	}
	return m.SentencePlan(c.Tokens, c.Fill, c.Seed, c.Scale)
}

// SentencePlan makes the sentence plan for a data set with these gene tokens.
func (m *Model) SentencePlan(tokens []int32, fill sentence.Fill, seed uint64, scale expression.Scale) (*sentence.Plan, error) {
	d := m.Config.Dimensions
	return sentence.NewPlan(tokens, sentence.Options{
		PadLength: d.PadLength, CLSPosition: d.CLSTokenIdx, CLS: m.Vocabulary.CLS(), Fill: fill, Seed: seed, Scale: scale,
	})
}

// source hands out blocks of cells to workers.
type source struct {
	next             atomic.Int64
	total, blockSize int
}

// newSource hands out at most 32 cells at a time, and fewer where there are too
// few cells to keep all workers busy to the end.
func newSource(total, workers int) *source {
	return &source{total: total, blockSize: min(32, max(1, total/(8*workers)))}
}

func (s *source) block() (from, to int) {
	from = int(s.next.Add(int64(s.blockSize))) - s.blockSize
	return min(from, s.total), min(from+s.blockSize, s.total)
}

// tokenizer writes the sentence of one cell into memory, and tells its length.
type tokenizer func(sentence.Sentence) (length int)

// sink takes the sentences that one worker makes.
type sink interface {
	// write has a cell tokenised into memory that the sink chooses.
	write(row int, tokenize tokenizer) error
	// end comes after the worker's last cell.
	end() error
}

// eachCell has several workers read and tokenise all cells, each into a sink
// of its own.
func eachCell(ctx context.Context, c *Cells, plan *sentence.Plan, workers int, newSink func() sink) (Report, error) {
	total := Report{Fill: plan.Fill(), NValid: plan.NValid()}
	var mu sync.Mutex
	cells := newSource(c.Matrix.NCells(), workers)
	group, ctx := safego.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			reader, worker, into := expression.NewReader(c.Matrix), plan.NewWorker(), newSink()
			var seen Report
			columns := c.Columns.ofWorker()
			// One tokenizer serves all cells of the worker: one a cell would be
			// an allocation a cell.
			var row int
			var values *expression.Row
			tokenize := func(out sentence.Sentence) int {
				cell := worker.Tokenize(values, c.FirstRow+row, out)
				seen.add(cell)
				columns.add(values, cell.Profile)
				if c.Share != nil {
					c.Share[row] = share(cell)
				}
				return cell.Length
			}
			for from, to := cells.block(); from < to; from, to = cells.block() {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("embed: %w", err)
				}
				for row = from; row < to; row++ {
					var err error
					if values, err = reader.Read(row); err != nil {
						return err
					}
					if err := into.write(row, tokenize); err != nil {
						return err
					}
				}
			}
			mu.Lock()
			total.merge(seen)
			c.Columns.merge(columns)
			mu.Unlock()
			return into.end()
		})
	}
	err := group.Wait()
	if at := (*expression.NotFiniteError)(nil); errors.As(err, &at) {
		return total, firstNotFinite(c.Matrix, at)
	}
	return total, err
}

// firstNotFinite finds the first of several values that are not finite:
// workers meet them in any order.
func firstNotFinite(m expression.Matrix, met *expression.NotFiniteError) error {
	reader := expression.NewReader(m)
	for cell := range met.Cell {
		if _, err := reader.Read(cell); err != nil {
			return err
		}
	}
	return met
}

// Sentences is memory for tokenised cells, row-major [n cells, width]. Slots
// past a cell's length hold [CLS], 0 and 0.
type Sentences struct {
	GeneIndices                    []int32
	ExpressionValues, Multiplicity []float32
	Lengths                        []int32
	Width                          int
}

// Tokenize writes the sentences of cells; the width must be that of the plan's
// longest sentence at least.
func (m *Model) Tokenize(ctx context.Context, c *Cells, out Sentences) (Report, error) {
	plan, err := m.Plan(c)
	if err != nil {
		return Report{}, err
	}
	n := c.Matrix.NCells()
	if out.Width < plan.MaxLength() || len(out.Lengths) != n || !holds(len(out.GeneIndices), n, out.Width) ||
		len(out.ExpressionValues) != len(out.GeneIndices) || len(out.Multiplicity) != len(out.GeneIndices) {
		return Report{}, fmt.Errorf("embed: memory for %d sentences of %d slots, %d of %d are needed: %w",
			len(out.Lengths), out.Width, n, plan.MaxLength(), ErrOption)
	}
	threads, err := nThreads(c.Threads)
	if err != nil {
		return Report{}, err
	}
	return eachCell(ctx, c, plan, workers(threads), func() sink { return &rowSink{out, m.Vocabulary.CLS(), c.Progress} })
}

// rowSink writes sentences to their rows.
type rowSink struct {
	Sentences
	cls      int32
	progress func(int)
}

func (s *rowSink) write(row int, tokenize tokenizer) error {
	at, end := row*s.Width, (row+1)*s.Width
	out := sentence.Sentence{
		GeneIndices:      s.GeneIndices[at:end],
		ExpressionValues: s.ExpressionValues[at:end],
		Multiplicity:     s.Multiplicity[at:end],
	}
	length := tokenize(out)
	s.Lengths[row] = int32(length)
	for i := length; i < s.Width; i++ {
		out.GeneIndices[i], out.ExpressionValues[i], out.Multiplicity[i] = s.cls, 0, 0
	}
	if s.progress != nil {
		s.progress(1)
	}
	return nil
}

func (s *rowSink) end() error { return nil }

package embed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/safego"
)

// Columns is memory for what a survey sees in each column of a matrix, valid
// or not. A survey adds to what stands there, so that the chunks of one matrix
// may share it. A slice is as long as the matrix has columns, or nil where it
// is not wanted. Cells that hold values which are not finite add to NotFinite
// alone.
type Columns struct {
	// Totals and Squares are the sums of the values and of their squares.
	// Sums of counts are exact, whatever the order of the cells.
	Totals, Squares []float64
	// Largest are the largest values.
	Largest []float32
	// NotFinite are the numbers of values that are not finite.
	NotFinite []int64
}

// maxPatterns bounds the patterns that a [NotFinite] keeps.
const maxPatterns = 64

// NotFinite tells of the values that are NaN or infinite, or too large for a
// float32.
type NotFinite struct {
	// NNaN, NInfinite and NTooLarge are numbers of values.
	NNaN, NInfinite, NTooLarge int
	// NCells is the number of cells that have any, NWholeCells that of those
	// which have no other values.
	NCells, NWholeCells int
	// First is the first one: in the first cell, as the cell is stored. Nil if
	// there is none.
	First *expression.NotFiniteError
	// Patterns are hashes, rising, of the sets of genes which cells lack: few
	// where whole groups of cells lack the same genes, as after an outer join.
	// There are at most 65; so many mean that there are too many to keep.
	Patterns []uint64
}

// Survey looks over all cells, and gives the report that [Model.Embed] gives of
// them, without running the model or writing a sentence. Values that are not
// finite are counted rather than refused: the report then is of the other
// cells.
func (m *Model) Survey(ctx context.Context, c *Cells, columns Columns) (Report, NotFinite, error) {
	plan, err := m.Plan(c)
	if err != nil {
		return Report{}, NotFinite{}, err
	}
	n := len(c.Tokens)
	for _, length := range []int{len(columns.Totals), len(columns.Squares), len(columns.Largest), len(columns.NotFinite)} {
		if length != 0 && length != n {
			return Report{}, NotFinite{}, fmt.Errorf("embed: memory for %d of %d columns: %w", length, n, ErrOption)
		}
	}
	workers, err := nThreads(c.Threads) // all of them: nothing else runs meanwhile
	if err != nil {
		return Report{}, NotFinite{}, err
	}
	total := Report{Fill: plan.Fill(), NValid: plan.NValid()}
	var missing NotFinite
	var mu sync.Mutex
	cells := newSource(c.Matrix.NCells(), workers)
	group, ctx := safego.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			s := newSurveyor(c, columns)
			for from, to := cells.block(); from < to; from, to = cells.block() {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("embed: %w", err)
				}
				for row := from; row < to; row++ {
					values, err := s.reader.Read(row)
					if errors.Is(err, expression.ErrNotFinite) {
						err = s.addNotFinite(row)
						values = nil
					}
					if err != nil {
						return err
					}
					if values != nil {
						cell := plan.Look(values)
						s.report.add(cell)
						s.addColumns(values)
						if c.Share != nil {
							c.Share[row] = share(cell)
						}
					}
				}
				if c.Progress != nil {
					c.Progress(to - from)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.merge(s.report)
			missing.merge(s.missing)
			columns.merge(s.columns)
			return nil
		})
	}
	err = group.Wait()
	return total, missing, err
}

// surveyor is what one worker of a survey sees.
type surveyor struct {
	reader  *expression.Reader
	report  Report
	missing NotFinite
	columns Columns
	nGenes  int
	share   []float32
}

func newSurveyor(c *Cells, like Columns) *surveyor {
	return &surveyor{
		reader: expression.NewReader(c.Matrix), nGenes: c.Matrix.NGenes(), share: c.Share,
		columns: Columns{
			Totals: make([]float64, len(like.Totals)), Squares: make([]float64, len(like.Squares)),
			Largest: make([]float32, len(like.Largest)),
		},
	}
}

func (s *surveyor) addColumns(row *expression.Row) {
	values := row.Values[:len(row.Columns)]
	if totals := s.columns.Totals; len(totals) > 0 {
		for i, column := range row.Columns {
			totals[column] += float64(values[i])
		}
	}
	if squares := s.columns.Squares; len(squares) > 0 {
		for i, column := range row.Columns {
			squares[column] += float64(values[i]) * float64(values[i])
		}
	}
	if largest := s.columns.Largest; len(largest) > 0 {
		for i, column := range row.Columns {
			largest[column] = max(largest[column], values[i])
		}
	}
}

func (s *surveyor) addNotFinite(row int) error {
	if s.columns.NotFinite == nil { // next to no data set needs it
		s.columns.NotFinite = make([]int64, s.nGenes)
	}
	if s.share != nil {
		s.share[row] = float32(math.NaN())
	}
	var pattern uint64
	n := 0
	err := s.reader.NotFinite(row, func(gene int, value float64) {
		s.columns.NotFinite[gene]++
		n++
		pattern += mixed(uint64(gene)) // a sum does not depend on the order of genes
		s.missing.addValue(row, gene, value)
	})
	s.missing.NCells++
	if n == s.nGenes {
		s.missing.NWholeCells++
	}
	s.missing.addPattern(pattern)
	return err
}

// mixed is the finaliser of splitmix64.
func mixed(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (f *NotFinite) addValue(row, gene int, value float64) {
	switch {
	case math.IsNaN(value):
		f.NNaN++
	case expression.TooLarge(value):
		f.NTooLarge++
	default:
		f.NInfinite++
	}
	if f.First == nil || row < f.First.Cell {
		f.First = &expression.NotFiniteError{Cell: row, Gene: gene, Value: value}
	}
}

// addPattern keeps the smallest patterns, whatever the order in which they come.
func (f *NotFinite) addPattern(pattern uint64) {
	at, known := slices.BinarySearch(f.Patterns, pattern)
	if known {
		return
	}
	f.Patterns = slices.Insert(f.Patterns, at, pattern)
	f.Patterns = f.Patterns[:min(len(f.Patterns), maxPatterns+1)]
}

func (f *NotFinite) merge(o NotFinite) {
	f.NNaN += o.NNaN
	f.NInfinite += o.NInfinite
	f.NTooLarge += o.NTooLarge
	f.NCells += o.NCells
	f.NWholeCells += o.NWholeCells
	if f.First == nil || o.First != nil && o.First.Cell < f.First.Cell {
		f.First = o.First
	}
	for _, pattern := range o.Patterns {
		f.addPattern(pattern)
	}
}

// merge adds what a worker saw; NotFinite may be missing there.
func (c Columns) merge(o Columns) {
	for i, v := range o.Totals {
		c.Totals[i] += v
	}
	for i, v := range o.Squares {
		c.Squares[i] += v
	}
	for i, v := range o.Largest {
		c.Largest[i] = max(c.Largest[i], v)
	}
	if c.NotFinite != nil {
		for i, n := range o.NotFinite {
			c.NotFinite[i] += n
		}
	}
}

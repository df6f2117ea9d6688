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
func (m *Model) Survey(ctx context.Context, c *Cells) (Report, NotFinite, error) {
	plan, err := m.Plan(c)
	if err != nil {
		return Report{}, NotFinite{}, err
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
			s := newSurveyor(c)
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
						s.columns.add(values, cell.Profile)
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
			c.Columns.merge(s.columns)
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

func newSurveyor(c *Cells) *surveyor {
	return &surveyor{
		reader: expression.NewReader(c.Matrix), nGenes: c.Matrix.NGenes(), share: c.Share, columns: c.Columns.ofWorker(),
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

package embed

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
)

// GeneEmbeddings writes the model's embeddings of genes, which don't depend on
// any cell: out is [len(tokens), emsize].
func (m *Model) GeneEmbeddings(ctx context.Context, tokens []int32, out []float32) error {
	if err := m.checkGenes(tokens); err != nil {
		return err
	}
	d := m.Config.Dimensions.EmSize
	if len(out) != len(tokens)*d {
		return fmt.Errorf("embed: memory for %d values, %d genes have %d: %w", len(out), len(tokens), len(tokens)*d, ErrOption)
	}
	file, err := os.Open(filepath.Join(m.Dir, modeldir.GeneEmbeddingsFile))
	if err != nil {
		return fmt.Errorf("embed: %w: %w", err, modeldir.ErrNotAModel)
	}
	defer func() { _ = file.Close() }()
	row := make([]byte, 4*d)
	for i, token := range tokens {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("embed: %w", err)
		}
		if _, err := file.ReadAt(row, int64(token)*int64(len(row))); err != nil {
			return fmt.Errorf("embed: %w: %w", err, modeldir.ErrNotAModel)
		}
		for k := range d {
			out[i*d+k] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*k:]))
		}
	}
	return nil
}

// Decode are cells whose expression of some genes is to be predicted.
type Decode struct {
	NCells int
	// Embedding is [NCells, output_dim], rows of unit length.
	Embedding []float32
	// ReadDepth is [NCells] and Dataset [NCells, dataset_dim], where the
	// model's decoder takes them, else nil.
	ReadDepth, Dataset []float32
	Genes              []int32
	// Threads to use in all; 0 means all cores.
	Threads int
	// Progress is told how many more pairs of a cell and a gene are done.
	Progress func(nPairs int)
}

func (m *Model) checkDecode(d *Decode, out []float32) error {
	takes := m.Config.Decoder
	if takes == nil {
		return fmt.Errorf("embed: model %q has no expression decoder: its checkpoint has no binary_decoder: %w", m.Config.Name, ErrLacks)
	}
	nDepths := 0
	if takes.ReadDepth {
		nDepths = d.NCells
	}
	if len(d.Embedding) != d.NCells*m.Config.Dimensions.OutputDim || len(d.ReadDepth) != nDepths ||
		len(d.Dataset) != d.NCells*takes.DatasetDim || len(out) != d.NCells*len(d.Genes) {
		return fmt.Errorf("embed: decode: %d cells with %d embedding values, %d read depths and %d dataset values, %d genes, memory for %d: %w",
			d.NCells, len(d.Embedding), len(d.ReadDepth), len(d.Dataset), len(d.Genes), len(out), ErrOption)
	}
	return m.checkGenes(d.Genes)
}

const (
	// maxPairs bounds the memory of a block of a narrow decoder.
	maxPairs = 1 << 13
	// minPairs is what the graph needs for rows that don't depend on others.
	minPairs = 2
)

// blockSides says how many cells and genes make a block, so that its largest
// node stays below [maxNodeFLOP]. What is computed once a gene and once a cell
// costs least where both are many.
func blockSides(nCells, nGenes, width int) (cells, genes int) {
	pairs := max(1, min(maxPairs, int(maxNodeFLOP/(4*float64(width)*float64(width)))))
	side := int(math.Sqrt(float64(pairs)))
	genes = min(nGenes, max(side, pairs/max(nCells, 1)))
	cells = min(nCells, pairs/max(genes, 1))
	return cells, genes
}

// Decode predicts the log1p expression of genes in cells: out is [NCells,
// len(Genes)]. A value depends on nothing but its cell, its gene and the
// model.
func (m *Model) Decode(ctx context.Context, d *Decode, out []float32) error {
	if err := m.begin(); err != nil {
		return err
	}
	defer m.end()
	if err := m.checkDecode(d, out); err != nil {
		return err
	}
	dims := m.Config.Dimensions
	cellWidth := dims.OutputDim + m.Config.Decoder.DatasetDim
	if m.Config.Decoder.ReadDepth {
		cellWidth++
	}
	width := dims.EmSize + cellWidth
	how, err := m.spread(d.Threads, width)
	if err != nil {
		return err
	}
	session, err := m.session(ctx, modeldir.Decoder, how.threadsPerRun)
	if err != nil {
		return err
	}
	sideCells, sideGenes := blockSides(d.NCells, len(d.Genes), width)
	group, running := newGroup(ctx)
	group.SetLimit(how.runners)
	for gene := 0; gene < len(d.Genes) && running.Err() == nil; gene += sideGenes {
		tokens := d.Genes[gene:min(gene+sideGenes, len(d.Genes))]
		genes := make([]float32, len(tokens)*dims.EmSize)
		if err = m.GeneEmbeddings(running, tokens, genes); err != nil {
			break
		}
		for cell := 0; cell < d.NCells && running.Err() == nil; cell += sideCells {
			group.Go(func() error {
				nCells := min(sideCells, d.NCells-cell)
				nRows := nCells
				if nCells*len(tokens) == 1 {
					nRows = minPairs // one more cell, of zeros
				}
				cells := make([]float32, nRows*cellWidth)
				for i := range nCells {
					d.join(cells[i*cellWidth:(i+1)*cellWidth], cell+i)
				}
				expression := make([]float32, nRows*len(tokens))
				err := session.Run(running, []ort.Tensor{
					{Shape: []int{len(tokens), dims.EmSize}, Float32: genes}, {Shape: []int{nRows, cellWidth}, Float32: cells},
				}, []ort.Tensor{{Shape: []int{nRows, len(tokens)}, Float32: expression}})
				if err != nil {
					return err
				}
				for i := range nCells {
					copy(out[(cell+i)*len(d.Genes)+gene:], expression[i*len(tokens):(i+1)*len(tokens)])
				}
				if d.Progress != nil {
					d.Progress(nCells * len(tokens))
				}
				return nil
			})
		}
	}
	if failed := group.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	return nil
}

// join puts side by side what the decoder takes for a cell.
func (d *Decode) join(into []float32, cell int) {
	row := func(values []float32) []float32 {
		w := len(values) / d.NCells
		return values[cell*w : (cell+1)*w]
	}
	n := copy(into, row(d.Embedding))
	n += copy(into[n:], row(d.ReadDepth))
	copy(into[n:], row(d.Dataset))
}

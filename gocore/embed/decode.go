package embed

import (
	"context"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
)

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
		return fmt.Errorf("embed: model %q has no expression decoder: its checkpoint has no binary_decoder tensors: %w", m.Config.Name, ErrLacks)
	}
	nDepths := 0
	if takes.ReadDepth {
		nDepths = d.NCells
	}
	if !holds(len(d.Embedding), d.NCells, m.Config.Dimensions.OutputDim) || len(d.ReadDepth) != nDepths ||
		!holds(len(d.Dataset), d.NCells, takes.DatasetDim) || !holds(len(out), d.NCells, len(d.Genes)) {
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
// node stays below some operations. What is computed once a gene and once a cell
// costs least where both are many.
func blockSides(nCells, nGenes, width int, nodeFLOP float64) (cells, genes int) {
	pairs := max(1, min(maxPairs, int(nodeFLOP/(4*float64(width)*float64(width)))))
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
	width := m.Config.Decoder.Width(m.Config.Dimensions)
	how, err := m.spread(d.Threads, width)
	if err != nil {
		return err
	}
	sideCells, sideGenes := blockSides(d.NCells, len(d.Genes), width, how.traits.NodeFLOP)
	return execute(ctx, how.lanes, func(ctx context.Context, send func(block) error) error {
		for gene := 0; gene < len(d.Genes); gene += sideGenes {
			tokens := d.Genes[gene:min(gene+sideGenes, len(d.Genes))]
			genes := make([]float32, len(tokens)*m.Config.Dimensions.EmSize)
			if err := m.GeneEmbeddings(ctx, tokens, genes); err != nil {
				return err
			}
			for cell := 0; cell < d.NCells; cell += sideCells {
				if err := send(block{cell, min(sideCells, d.NCells-cell), gene, len(tokens), genes}); err != nil {
					return err
				}
			}
		}
		return nil
	}, func(ctx context.Context, l *lane, b block) error { return d.decodeBlock(ctx, l, b, out) })
}

// block are pairs of some cells and some genes, with the embeddings of these.
type block struct {
	cell, nCells, gene, nGenes int
	genes                      []float32
}

// decodeBlock executes a block and scatters its values.
func (d *Decode) decodeBlock(ctx context.Context, l *lane, b block, out []float32) error {
	dims := l.model.Config.Dimensions
	width := l.model.Config.Decoder.CellWidth(dims)
	nRows := b.nCells
	if b.nCells*b.nGenes == 1 {
		nRows = minPairs // one more cell, of zeros
	}
	cells := l.floats(modeldir.DecoderCells, nRows*width)
	clear(cells[b.nCells*width:])
	for i := range b.nCells {
		d.join(cells[i*width:(i+1)*width], b.cell+i)
	}
	results, err := l.run(ctx, modeldir.Decoder, modeldir.Sizes{modeldir.NGenes: b.nGenes, modeldir.NCells: nRows}, []ort.Tensor{
		{Shape: []int{b.nGenes, dims.EmSize}, Float32: b.genes}, {Shape: []int{nRows, width}, Float32: cells},
	}, nil)
	if err != nil {
		return err
	}
	for i := range b.nCells {
		values := results[modeldir.Expression][i*b.nGenes : (i+1)*b.nGenes]
		if err := l.checkFinite(b.cell+i, "predicted expression", values); err != nil {
			return err
		}
		copy(out[(b.cell+i)*len(d.Genes)+b.gene:], values)
	}
	if d.Progress != nil {
		d.Progress(b.nCells * b.nGenes)
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

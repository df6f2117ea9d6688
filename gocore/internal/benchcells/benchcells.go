// Package benchcells provides cells for benchmarks: real ones, or such as are
// like them.
package benchcells

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// File is the environment variable that names a file of cells, as
// tools/bench/export_cells.py writes it: nCells, nGenes, nValues (int64), then
// indptr (int64), gene tokens (int32), indices (int32), values (float32), all
// little-endian.
const File = "SE600M_BENCH_CELLS"

// Cells is a CSR matrix of raw counts, with the gene token of each column.
type Cells struct {
	NCells, NGenes int
	Data           []float32
	Indices        []int32
	Indptr         []int64
	Tokens         []int32
}

// Load reads the file that SE600M_BENCH_CELLS names, or draws cells.
func Load(tb testing.TB) *Cells {
	tb.Helper()
	path := os.Getenv(File)
	if path == "" {
		return draw()
	}
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := read(bufio.NewReader(file))
	if err := errors.Join(err, file.Close()); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	return c
}

func read(file io.Reader) (*Cells, error) {
	var size [3]int64
	if err := binary.Read(file, binary.LittleEndian, &size); err != nil {
		return nil, fmt.Errorf("sizes: %w", err)
	}
	c := &Cells{
		NCells: int(size[0]), NGenes: int(size[1]), Indptr: make([]int64, size[0]+1), Tokens: make([]int32, size[1]),
		Indices: make([]int32, size[2]), Data: make([]float32, size[2]),
	}
	for _, part := range []any{c.Indptr, c.Tokens, c.Indices, c.Data} {
		if err := binary.Read(file, binary.LittleEndian, part); err != nil {
			return nil, fmt.Errorf("%d cells × %d genes: %w", c.NCells, c.NGenes, err)
		}
	}
	return c, nil
}

// draw makes cells like those of immune559.h5ad: 559 × 32,786 genes, 19,578 of
// them with a token and 9,810 expressed anywhere; in the mean 6,476 counts over
// 1,839 expressed genes a cell; half of the counts 1, a seventh above 4.
func draw() *Cells {
	const nCells, nGenes, nValid, nSeen, meanDepth = 559, 32_786, 19_578, 9810, 6476
	source := rand.NewPCG(5, 59)
	random := rand.New(source)
	c := &Cells{NCells: nCells, NGenes: nGenes, Indptr: make([]int64, 1, nCells+1), Tokens: make([]int32, nGenes)}
	for gene := range c.Tokens {
		c.Tokens[gene] = vocabulary.Unknown
	}
	genes := random.Perm(nGenes)
	seen, valid := slices.Sorted(slices.Values(genes[:nSeen])), genes[:nValid]
	for token, gene := range valid {
		c.Tokens[gene] = int32(token)
	}
	weights := make([]float64, nSeen)
	for i := range weights {
		weights[i] = math.Exp(1.8 * random.NormFloat64())
	}
	floats.Scale(meanDepth/floats.Sum(weights), weights)
	for range nCells {
		depth := math.Exp(0.8*random.NormFloat64() - 0.32) // 1 in the mean
		for i, gene := range seen {
			mean := depth * weights[i] * random.ExpFloat64()
			if count := (distuv.Poisson{Lambda: mean, Src: source}).Rand(); count > 0 {
				c.Indices = append(c.Indices, int32(gene))
				c.Data = append(c.Data, float32(count))
			}
		}
		c.Indptr = append(c.Indptr, int64(len(c.Data)))
	}
	return c
}

// Matrix views the cells.
func (c *Cells) Matrix(tb testing.TB) expression.Matrix {
	tb.Helper()
	m, err := expression.NewCSR(c.NCells, c.NGenes, c.Data, c.Indices, c.Indptr)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// Dense views the cells as a dense matrix.
func (c *Cells) Dense(tb testing.TB) expression.Matrix {
	tb.Helper()
	data := make([]float32, c.NCells*c.NGenes)
	for cell := range c.NCells {
		for k := c.Indptr[cell]; k < c.Indptr[cell+1]; k++ {
			data[cell*c.NGenes+int(c.Indices[k])] = c.Data[k]
		}
	}
	m, err := expression.NewDense(c.NCells, c.NGenes, c.NGenes, 1, data)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

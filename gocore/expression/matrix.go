package expression

import (
	"fmt"
	"math"
	"slices"
)

// Number is an element type that expression values come in.
type Number interface {
	~float32 | ~float64 |
		~int8 | ~int16 | ~int32 | ~int64 |
		~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Index is a type that gene indices of sparse matrices come in.
type Index interface{ ~int32 | ~int64 }

// Matrix is a borrowed, read-only view of cells × genes. Any number of
// goroutines may read it at the same time, each with a Reader of its own.
type Matrix interface {
	// NCells is the number of rows.
	NCells() int
	// NGenes is the number of columns.
	NGenes() int
	// visit reads a cell into r's row.
	visit(cell int, r *Reader) error
	// each tells the stored values of a cell as they stand. The errors wrap [ErrIndex].
	each(cell int, tell func(gene int, value float64)) error
}

// Row is one cell's expressed genes in canonical form: columns are distinct,
// values finite and positive, in stored order.
type Row struct {
	Columns []int32
	Values  []float32
	// Negative is how many stored values were below zero, and were dropped.
	Negative int
}

// Reader reads cells of one matrix into a row that it reuses.
type Reader struct {
	matrix Matrix
	row    Row
	// slot[c] is the place in row of gene c, if seen[c] is this cell's
	// stamp: how a value stored twice is found without sorting. Cells whose
	// genes rise do without.
	slot  []int32
	seen  []uint32
	stamp uint32
}

// NewReader makes a reader for one goroutine.
func NewReader(m Matrix) *Reader { return &Reader{matrix: m} }

// Read returns one cell. The row is valid until the next call.
func (r *Reader) Read(cell int) (*Row, error) {
	if cell < 0 || cell >= r.matrix.NCells() {
		return nil, fmt.Errorf("expression: cell %d of %d: %w", cell, r.matrix.NCells(), ErrShape)
	}
	r.row.Negative = 0
	if err := r.matrix.visit(cell, r); err != nil {
		return nil, err
	}
	return &r.row, nil
}

// room empties the row and makes it large enough for n genes.
func (r *Reader) room(n int) (columns []int32, values []float32) {
	r.row.Columns = slices.Grow(r.row.Columns[:0], n)
	r.row.Values = slices.Grow(r.row.Values[:0], n)
	return r.row.Columns[:n], r.row.Values[:n]
}

// begin empties the row for genes that come in any order.
func (r *Reader) begin() {
	r.row.Columns = r.row.Columns[:0]
	r.row.Values = r.row.Values[:0]
	if r.seen == nil {
		r.slot, r.seen = make([]int32, r.matrix.NGenes()), make([]uint32, r.matrix.NGenes())
	}
	r.stamp++
	if r.stamp == 0 {
		clear(r.seen)
		r.stamp = 1
	}
}

// add takes one stored value that is not zero.
func (r *Reader) add(gene int, value float32) {
	if r.seen[gene] == r.stamp {
		r.row.Values[r.slot[gene]] += value
		return
	}
	r.seen[gene] = r.stamp
	r.slot[gene] = int32(len(r.row.Columns))
	r.row.Columns = append(r.row.Columns, int32(gene))
	r.row.Values = append(r.row.Values, value)
}

// dropNotPositive clips the row as the reference does. It runs after values
// stored twice were added, as any reader of the whole matrix would see them: a
// sum may exceed float32 where its parts do not.
func (r *Reader) dropNotPositive(cell int) error {
	kept := 0
	for i, v := range r.row.Values {
		switch {
		case notFinite(v):
			return &NotFiniteError{cell, int(r.row.Columns[i]), float64(v)}
		case v > 0:
			r.row.Columns[kept], r.row.Values[kept] = r.row.Columns[i], v
			kept++
		case v < 0:
			r.row.Negative++
		}
	}
	r.row.Columns = r.row.Columns[:kept]
	r.row.Values = r.row.Values[:kept]
	return nil
}

func notFinite(v float32) bool {
	// Inf-Inf and NaN-NaN are NaN; every finite number gives zero.
	return v-v != 0
}

type csr[V Number, I Index] struct {
	nCells, nGenes int
	data           []V
	indices        []I
	indptr         []int64
}

// NewCSR views a compressed sparse row matrix: the values of cell i are
// data[indptr[i]:indptr[i+1]], for the genes named by the same part of
// indices, in any order. The slices are borrowed. The errors wrap [ErrShape].
func NewCSR[V Number, I Index](nCells, nGenes int, data []V, indices []I, indptr []int64) (Matrix, error) {
	switch {
	case nCells < 0 || nGenes < 0 || nGenes > math.MaxInt32:
		return nil, fmt.Errorf("expression: %d cells × %d genes: %w", nCells, nGenes, ErrShape)
	case len(indptr) != nCells+1:
		return nil, fmt.Errorf("expression: indptr has %d entries, but %d cells need %d: %w",
			len(indptr), nCells, nCells+1, ErrShape)
	case len(data) != len(indices):
		return nil, fmt.Errorf("expression: %d values but %d gene indices: %w", len(data), len(indices), ErrShape)
	}
	if indptr[0] < 0 {
		return nil, fmt.Errorf("expression: indptr begins at %d: %w", indptr[0], ErrShape)
	}
	for i := range nCells {
		if indptr[i+1] < indptr[i] {
			return nil, fmt.Errorf("expression: indptr decreases from %d to %d at cell %d: %w",
				indptr[i], indptr[i+1], i, ErrShape)
		}
	}
	if last := indptr[nCells]; last > int64(len(data)) {
		return nil, fmt.Errorf("expression: indptr ends at %d, but there are %d values: %w", last, len(data), ErrShape)
	}
	return &csr[V, I]{nCells, nGenes, data, indices, indptr}, nil
}

func (m *csr[V, I]) NCells() int { return m.nCells }
func (m *csr[V, I]) NGenes() int { return m.nGenes }

// visit reads a cell in one pass if its genes rise, as they nearly always do:
// then none is stored twice.
func (m *csr[V, I]) visit(cell int, r *Reader) error {
	lo, hi := m.indptr[cell], m.indptr[cell+1]
	data, indices := m.data[lo:hi], m.indices[lo:hi]
	columns, values := r.room(len(data))
	n, last := 0, -1
	for k, stored := range data {
		gene := int(indices[k])
		if gene <= last || gene >= m.nGenes {
			return m.visitAnyOrder(cell, r)
		}
		last = gene
		value := float32(stored)
		if notFinite(value) {
			return &NotFiniteError{cell, gene, float64(stored)}
		}
		columns[n], values[n] = int32(gene), value
		if value > 0 {
			n++
		} else if value < 0 {
			r.row.Negative++
		}
	}
	r.row.Columns, r.row.Values = columns[:n], values[:n]
	return nil
}

func (m *csr[V, I]) visitAnyOrder(cell int, r *Reader) error {
	r.row.Negative = 0
	r.begin()
	lo, hi := m.indptr[cell], m.indptr[cell+1]
	indices := m.indices[lo:hi]
	for k, stored := range m.data[lo:hi] {
		gene := int(indices[k])
		if uint(gene) >= uint(m.nGenes) {
			return fmt.Errorf("expression: cell %d refers to gene %d of %d: %w", cell, gene, m.nGenes, ErrIndex)
		}
		value := float32(stored)
		if notFinite(value) {
			return &NotFiniteError{cell, gene, float64(stored)}
		}
		if value != 0 {
			r.add(gene, value)
		}
	}
	return r.dropNotPositive(cell)
}

func (m *csr[V, I]) each(cell int, tell func(gene int, value float64)) error {
	for k := m.indptr[cell]; k < m.indptr[cell+1]; k++ {
		gene := int(m.indices[k])
		if uint(gene) >= uint(m.nGenes) {
			return fmt.Errorf("expression: cell %d refers to gene %d of %d: %w", cell, gene, m.nGenes, ErrIndex)
		}
		tell(gene, float64(m.data[k]))
	}
	return nil
}

type dense[V Number] struct {
	nCells, nGenes         int
	cellStride, geneStride int
	data                   []V
}

// NewDense views a dense matrix of any strides, counted in elements: the value
// of cell i and gene j is data[i*cellStride+j*geneStride]. The slice is
// borrowed. The errors wrap [ErrShape].
func NewDense[V Number](nCells, nGenes, cellStride, geneStride int, data []V) (Matrix, error) {
	if nCells < 0 || nGenes < 0 || nGenes > math.MaxInt32 || cellStride < 0 || geneStride < 0 {
		return nil, fmt.Errorf("expression: %d cells × %d genes with strides %d, %d: %w",
			nCells, nGenes, cellStride, geneStride, ErrShape)
	}
	if nCells > 0 && nGenes > 0 {
		if last := reach(nCells-1, cellStride) + reach(nGenes-1, geneStride); last >= len(data) {
			return nil, fmt.Errorf("expression: %d cells × %d genes with strides %d, %d reach element %d of %d: %w",
				nCells, nGenes, cellStride, geneStride, last, len(data), ErrShape)
		}
	}
	return &dense[V]{nCells, nGenes, cellStride, geneStride, data}, nil
}

// reach is n·stride, or what no slice reaches where that overflows.
func reach(n, stride int) int {
	const most = math.MaxInt / 2
	if n > 0 && stride > most/n {
		return most
	}
	return n * stride
}

func (m *dense[V]) NCells() int { return m.nCells }
func (m *dense[V]) NGenes() int { return m.nGenes }

func (m *dense[V]) visit(cell int, r *Reader) error {
	columns, values := r.room(m.nGenes)
	n, at := 0, cell*m.cellStride
	for gene := range m.nGenes {
		stored := m.data[at]
		at += m.geneStride
		if stored == 0 {
			continue
		}
		value := float32(stored)
		if notFinite(value) {
			return &NotFiniteError{cell, gene, float64(stored)}
		}
		columns[n], values[n] = int32(gene), value
		if value > 0 {
			n++
		} else if value < 0 {
			r.row.Negative++
		}
	}
	r.row.Columns, r.row.Values = columns[:n], values[:n]
	return nil
}

func (m *dense[V]) each(cell int, tell func(gene int, value float64)) error {
	at := cell * m.cellStride
	for gene := range m.nGenes {
		tell(gene, float64(m.data[at]))
		at += m.geneStride
	}
	return nil
}

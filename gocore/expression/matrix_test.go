package expression

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func readAll(t *testing.T, m Matrix) (columns [][]int32, values [][]float32) {
	t.Helper()
	reader := NewReader(m)
	for cell := range m.NCells() {
		row, err := reader.Read(cell)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, slices.Clone(row.Columns))
		values = append(values, slices.Clone(row.Values))
	}
	return columns, values
}

func TestViewsOfOneMatrixReadAlike(t *testing.T) {
	// 0 3 0 1
	// 0 0 0 0
	// 2 0 5 0
	wantColumns := [][]int32{{1, 3}, {}, {0, 2}}
	wantValues := [][]float32{{3, 1}, {}, {2, 5}}
	must := func(m Matrix, err error) Matrix {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	indptr := []int64{0, 2, 2, 4}
	rowMajor := []float32{0, 3, 0, 1, 0, 0, 0, 0, 2, 0, 5, 0}
	for name, m := range map[string]Matrix{
		"csr float32 int32":   must(NewCSR(3, 4, []float32{3, 1, 2, 5}, []int32{1, 3, 0, 2}, indptr)),
		"csr float64 int64":   must(NewCSR(3, 4, []float64{3, 1, 2, 5}, []int64{1, 3, 0, 2}, indptr)),
		"csr uint8":           must(NewCSR(3, 4, []uint8{3, 1, 2, 5}, []int32{1, 3, 0, 2}, indptr)),
		"csr stored zeros":    must(NewCSR(3, 4, []int64{3, 0, 1, 2, 5}, []int32{1, 2, 3, 0, 2}, []int64{0, 3, 3, 5})),
		"csr duplicates":      must(NewCSR(3, 4, []int32{1, 1, 2, 2, 5}, []int32{1, 3, 1, 0, 2}, []int64{0, 3, 3, 5})),
		"csr offset indptr":   must(NewCSR(3, 4, []float32{9, 3, 1, 2, 5}, []int32{0, 1, 3, 0, 2}, []int64{1, 3, 3, 5})),
		"dense C order":       must(NewDense(3, 4, 4, 1, rowMajor)),
		"dense Fortran order": must(NewDense(3, 4, 1, 3, []float64{0, 0, 2, 3, 0, 0, 0, 0, 5, 1, 0, 0})),
		"dense every other column": must(NewDense(3, 4, 8, 2, []int16{
			0, 7, 3, 7, 0, 7, 1, 7, 0, 7, 0, 7, 0, 7, 0, 7, 2, 7, 0, 7, 5, 7, 0, 7,
		})),
	} {
		t.Run(name, func(t *testing.T) {
			columns, values := readAll(t, m)
			for i := range wantColumns {
				if !slices.Equal(columns[i], wantColumns[i]) || !slices.Equal(values[i], wantValues[i]) {
					t.Errorf("cell %d: %v %v, want %v %v", i, columns[i], values[i], wantColumns[i], wantValues[i])
				}
			}
		})
	}
}

func TestNegativeValuesAreDroppedAndCounted(t *testing.T) {
	m, err := NewCSR(1, 5, []float32{-2, 3, -1, 1, -0.5, 0.25}, []int32{0, 1, 2, 4, 3, 3}, []int64{0, 6})
	if err != nil {
		t.Fatal(err)
	}
	row, err := NewReader(m).Read(0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(row.Columns, []int32{1, 4}) || row.Negative != 3 {
		t.Errorf("columns %v, %d negative; want [1 4], 3 (gene 3 sums to -0.25)", row.Columns, row.Negative)
	}
}

func TestRefusedMatrices(t *testing.T) {
	one := []float32{1}
	for _, c := range []struct {
		name  string
		make  func() (Matrix, error)
		wraps error
		says  string
	}{
		{"short indptr", func() (Matrix, error) { return NewCSR(2, 3, one, []int32{0}, []int64{0, 1}) }, ErrShape, "2 entries"},
		{"falling indptr", func() (Matrix, error) { return NewCSR(2, 3, one, []int32{0}, []int64{0, 1, 0}) }, ErrShape, "from 1 to 0 at cell 1"},
		{"indptr past the end", func() (Matrix, error) { return NewCSR(1, 3, one, []int32{0}, []int64{0, 2}) }, ErrShape, "ends at 2"},
		{"negative indptr", func() (Matrix, error) { return NewCSR(1, 3, one, []int32{0}, []int64{-1, 1}) }, ErrShape, "begins at -1"},
		{"indices too short", func() (Matrix, error) { return NewCSR(1, 3, one, []int32{}, []int64{0, 1}) }, ErrShape, "0 gene indices"},
		{"dense too short", func() (Matrix, error) { return NewDense(2, 3, 3, 1, []float32{1, 2, 3, 4, 5}) }, ErrShape, "element 5 of 5"},
		{"strides that overflow", func() (Matrix, error) { return NewDense(1<<31, 2, 1<<33, 1, []float32{1, 2}) }, ErrShape, "8589934592"},
		{"negative stride", func() (Matrix, error) { return NewDense(2, 3, -3, 1, make([]float32, 6)) }, ErrShape, "-3"},
		{"index out of range", func() (Matrix, error) { return NewCSR(1, 3, one, []int32{3}, []int64{0, 1}) }, ErrIndex, "gene 3 of 3"},
		{"negative index", func() (Matrix, error) { return NewCSR(1, 3, one, []int64{-1}, []int64{0, 1}) }, ErrIndex, "gene -1"},
		{"NaN", func() (Matrix, error) { return NewDense(1, 2, 2, 1, []float64{0, math.NaN()}) }, ErrNotFinite, "cell 0, gene 1: value is NaN"},
		{"infinite", func() (Matrix, error) {
			return NewCSR(1, 3, []float32{float32(math.Inf(1))}, []int32{2}, []int64{0, 1})
		}, ErrNotFinite, "cell 0, gene 2: value is +Inf"},
		{"a sum of duplicates beyond float32", func() (Matrix, error) {
			return NewCSR(1, 3, []float32{3e38, 3e38}, []int32{2, 2}, []int64{0, 2})
		}, ErrNotFinite, "cell 0, gene 2: value is +Inf"},
		{"beyond float32", func() (Matrix, error) { return NewDense(1, 1, 1, 1, []float64{1e300}) }, ErrNotFinite, "1e+300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.make()
			if err == nil {
				_, err = NewReader(m).Read(0)
			}
			if !errors.Is(err, c.wraps) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.wraps, c.says)
			}
		})
	}
}

func TestReaderOutlivesItsStamps(t *testing.T) {
	// A gene stored twice: only such cells need stamps.
	m, err := NewCSR(2, 3, []float32{1, 1, 2}, []int32{2, 2, 1}, []int64{0, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(m)
	r.stamp = math.MaxUint32 - 1
	for range 4 {
		row, err := r.Read(0)
		if err != nil || len(row.Columns) != 1 || row.Values[0] != 2 {
			t.Fatalf("%v %v", row, err)
		}
	}
}

func ExampleReader() {
	counts := []float32{4, 1, 2}
	genes := []int32{7, 0, 3}
	cells := []int64{0, 2, 3} // cell 0 has the first two values, cell 1 the last
	matrix, err := NewCSR(2, 10, counts, genes, cells)
	if err != nil {
		panic(err)
	}
	row, err := NewReader(matrix).Read(0)
	if err != nil {
		panic(err)
	}
	fmt.Println(row.Columns, row.Values, Judge(row.Values))
	// Output: [7 0] [4 1] log1p
}

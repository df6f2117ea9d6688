package expression

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// FuzzCSR reads arbitrary bytes as a CSR matrix, float32 values, and makes sure
// that what is read is canonical and is the matrix.
func FuzzCSR(f *testing.F) {
	bytesOf := func(values ...float32) (b []byte) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	}
	short := func(values ...int16) (b []byte) {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		}
		return b
	}
	inf := float32(math.Inf(1))
	f.Add(uint16(2), uint16(3), bytesOf(1, 2, 3), short(0, 1, 2), short(0, 1, 3))
	f.Add(uint16(1), uint16(1), bytesOf(), short(), short(0, 0))
	f.Add(uint16(1), uint16(2), bytesOf(5, 5, -10), short(1, 1, 0), short(0, 3))
	f.Add(uint16(1), uint16(2), bytesOf(3e38, 3e38), short(1, 1), short(0, 2))
	f.Add(uint16(1), uint16(2), bytesOf(inf, -inf), short(1, -1), short(-1, 2))
	f.Add(uint16(0), uint16(0), bytesOf(1), short(0), short(1))
	f.Fuzz(func(t *testing.T, cells, genes uint16, dataBytes, indexBytes, indptrBytes []byte) {
		nCells, nGenes := int(cells), int(genes)
		data := make([]float32, len(dataBytes)/4)
		for i := range data {
			data[i] = math.Float32frombits(binary.LittleEndian.Uint32(dataBytes[4*i:]))
		}
		indices := make([]int32, len(indexBytes)/2)
		for i := range indices {
			indices[i] = int32(int16(binary.LittleEndian.Uint16(indexBytes[2*i:])))
		}
		indptr := make([]int64, len(indptrBytes)/2)
		for i := range indptr {
			indptr[i] = int64(int16(binary.LittleEndian.Uint16(indptrBytes[2*i:])))
		}
		m, err := NewCSR(nCells, nGenes, data, indices, indptr)
		if err != nil {
			if !errors.Is(err, ErrShape) {
				t.Fatal(err)
			}
			return
		}
		reader := NewReader(m)
		for cell := range m.NCells() {
			row, err := reader.Read(cell)
			if err != nil {
				if !errors.Is(err, ErrIndex) && !errors.Is(err, ErrNotFinite) {
					t.Fatal(err)
				}
				continue
			}
			sums := map[int32]float32{}
			for k := indptr[cell]; k < indptr[cell+1]; k++ {
				sums[indices[k]] += data[k]
			}
			negative := 0
			for _, v := range sums {
				if v < 0 {
					negative++
				}
			}
			if row.Negative != negative {
				t.Fatalf("cell %d: %d negative values, want %d", cell, row.Negative, negative)
			}
			for i, column := range row.Columns {
				v := row.Values[i]
				if v <= 0 || notFinite(v) || v != sums[column] {
					t.Fatalf("cell %d, gene %d: value %v, want %v", cell, column, v, sums[column])
				}
				delete(sums, column) // a gene that comes twice has no sum any more
			}
			for gene, v := range sums {
				if v > 0 {
					t.Fatalf("cell %d: gene %d, %v, was not read", cell, gene, v)
				}
			}
		}
	})
}

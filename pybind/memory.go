package pybind

import (
	"fmt"
	"unsafe"

	"github.com/se600m/se600m-go/gocore/expression"
)

// array is one-dimensional memory that Python owns.
type array struct {
	Address uint64 `json:"address"`
	Length  int    `json:"length"`
	DType   string `json:"dtype"`
}

// maxElements is more than any memory holds.
const maxElements = 1 << 46

// slice views an array. This is the only place where an address becomes
// memory; nothing may keep the slice beyond the job it was handed to.
func slice[T any](a array) ([]T, error) {
	var zero T
	size := uint64(unsafe.Sizeof(zero))
	switch {
	case a.Length < 0 || a.Length > maxElements:
		return nil, fmt.Errorf("pybind: %d elements: %w", a.Length, errMemory)
	case a.Length == 0:
		return []T{}, nil
	case a.Address == 0:
		return nil, fmt.Errorf("pybind: %d elements at the null address: %w", a.Length, errMemory)
	case a.Address%size != 0:
		return nil, fmt.Errorf("pybind: address %#x is not aligned to %d bytes: %w", a.Address, size, errMemory)
	}
	address := uintptr(a.Address)
	return unsafe.Slice(*(**T)(unsafe.Pointer(&address)), a.Length), nil
}

// typed views an array of one element type.
func typed[T any](a array, dtype string) ([]T, error) {
	if a.DType != dtype {
		return nil, fmt.Errorf("pybind: an array of %q where %q belongs: %w", a.DType, dtype, errMemory)
	}
	return slice[T](a)
}

// optional views an array that may be left out.
func optional[T any](a *array, dtype string) ([]T, error) {
	if a == nil {
		return nil, nil
	}
	return typed[T](*a, dtype)
}

// matrix describes a matrix in Python's memory.
type matrix struct {
	Kind       string `json:"kind"` // "csr" or "dense"
	NCells     int    `json:"n_cells"`
	NGenes     int    `json:"n_genes"`
	Data       array  `json:"data"`
	Indices    array  `json:"indices"`
	Indptr     array  `json:"indptr"` // int64
	CellStride int    `json:"cell_stride"`
	GeneStride int    `json:"gene_stride"`
}

// view makes the borrowed matrix.
func (m matrix) view() (expression.Matrix, error) {
	switch m.Data.DType {
	case "float32":
		return viewOf[float32](m)
	case "float64":
		return viewOf[float64](m)
	case "int8":
		return viewOf[int8](m)
	case "int16":
		return viewOf[int16](m)
	case "int32":
		return viewOf[int32](m)
	case "int64":
		return viewOf[int64](m)
	case "uint8":
		return viewOf[uint8](m)
	case "uint16":
		return viewOf[uint16](m)
	case "uint32":
		return viewOf[uint32](m)
	case "uint64":
		return viewOf[uint64](m)
	}
	return nil, fmt.Errorf("pybind: values of type %q: %w", m.Data.DType, expression.ErrShape)
}

func viewOf[V expression.Number](m matrix) (expression.Matrix, error) {
	data, err := slice[V](m.Data)
	if err != nil {
		return nil, err
	}
	switch m.Kind {
	case "dense":
		return expression.NewDense(m.NCells, m.NGenes, m.CellStride, m.GeneStride, data)
	case "csr":
	default:
		return nil, fmt.Errorf("pybind: a matrix of kind %q: %w", m.Kind, errMemory)
	}
	indptr, err := typed[int64](m.Indptr, "int64")
	if err != nil {
		return nil, err
	}
	if m.Indices.DType == "int64" {
		indices, err := slice[int64](m.Indices)
		if err != nil {
			return nil, err
		}
		return expression.NewCSR(m.NCells, m.NGenes, data, indices, indptr)
	}
	indices, err := typed[int32](m.Indices, "int32")
	if err != nil {
		return nil, err
	}
	return expression.NewCSR(m.NCells, m.NGenes, data, indices, indptr)
}

package pybind

import (
	"encoding/json"
	"fmt"

	"github.com/se600m/se600m-go/gocore/expression"
)

// denseMatrix describes a dense matrix in Python's memory; strides count elements.
type denseMatrix struct {
	Kind       string `json:"kind"` // "dense"
	NCells     int    `json:"n_cells"`
	NGenes     int    `json:"n_genes"`
	Data       array  `json:"data"`
	CellStride int    `json:"cell_stride"`
	GeneStride int    `json:"gene_stride"`
}

// csrMatrix describes a sparse matrix in Python's memory.
type csrMatrix struct {
	Kind    string `json:"kind"` // "csr"
	NCells  int    `json:"n_cells"`
	NGenes  int    `json:"n_genes"`
	Data    array  `json:"data"`
	Indices array  `json:"indices"` // int32 or int64
	Indptr  array  `json:"indptr"`  // int64
}

// matrix is one of the two.
type matrix struct {
	dense *denseMatrix
	csr   *csrMatrix
}

// UnmarshalJSON reads the matrix that "kind" names.
func (m *matrix) UnmarshalJSON(text []byte) error {
	var named struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return fmt.Errorf("matrix: %w: %w", err, errRequest)
	}
	var err error
	*m = matrix{}
	switch named.Kind {
	case "dense":
		m.dense = new(denseMatrix)
		err = fromJSON(string(text), m.dense)
	case "csr":
		m.csr = new(csrMatrix)
		err = fromJSON(string(text), m.csr)
	default:
		return fmt.Errorf(`a matrix of kind %q, not "dense" or "csr": %w`, named.Kind, errRequest)
	}
	if err != nil {
		return fmt.Errorf("matrix: %w", err)
	}
	return nil
}

// view makes the borrowed matrix.
func (m matrix) view() (expression.Matrix, error) {
	dtype := ""
	switch {
	case m.dense != nil:
		dtype = m.dense.Data.DType
	case m.csr != nil:
		dtype = m.csr.Data.DType
	}
	switch dtype {
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
	return nil, fmt.Errorf("pybind: values of type %q: %w", dtype, expression.ErrShape)
}

func viewOf[V expression.Number](m matrix) (expression.Matrix, error) {
	if m.dense != nil {
		return viewOfDense[V](m.dense)
	}
	return viewOfCSR[V](m.csr)
}

func viewOfDense[V expression.Number](m *denseMatrix) (expression.Matrix, error) {
	data, err := slice[V](m.Data)
	if err != nil {
		return nil, err
	}
	return expression.NewDense(m.NCells, m.NGenes, m.CellStride, m.GeneStride, data)
}

func viewOfCSR[V expression.Number](m *csrMatrix) (expression.Matrix, error) {
	data, err := slice[V](m.Data)
	if err != nil {
		return nil, err
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

package neighbors

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/ort"
)

// multiplier multiplies float32 matrices: a [m, width] by the rows of b [n,
// width], into out [m, n]. Several goroutines may use one, each on its own core.
// In which order it sums is its own affair.
type multiplier interface {
	multiply(ctx context.Context, a, b []float32, width int, out []float32) error
	close() error
}

// newMultiplier takes ONNX Runtime if its library is loaded, since its kernels
// use all that a processor has, and gonum otherwise.
func newMultiplier() (multiplier, error) {
	if ort.Library() == "" {
		return gonum{}, nil
	}
	return newRuntimeProduct()
}

// runtimeProduct multiplies by a graph of one operator.
type runtimeProduct struct{ session *ort.Session }

func newRuntimeProduct() (multiplier, error) {
	g := onnx.NewGraph("neighbors")
	a, b := g.Input("a", onnx.Float32, "m", "width"), g.Input("b", onnx.Float32, "n", "width")
	g.Output(g.Op("Gemm", []onnx.Value{a, b}, onnx.Attr{Name: "transB", Value: 1}), "products", onnx.Float32, "m", "n")
	model, err := g.Model("se600m-go", "")
	if err != nil {
		return nil, fmt.Errorf("neighbors: %w", err)
	}
	cpu, err := ort.ResolveDevice("cpu", "fp32")
	if err != nil {
		return nil, fmt.Errorf("neighbors: %w", err)
	}
	session, err := ort.NewSession(model, ort.SessionOptions{
		Name: "neighbors", Provider: cpu, Threads: 1, Inputs: []string{"a", "b"}, Outputs: []string{"products"},
	})
	if err != nil {
		return nil, fmt.Errorf("neighbors: %w", err)
	}
	return runtimeProduct{session}, nil
}

func (p runtimeProduct) multiply(ctx context.Context, a, b []float32, width int, out []float32) error {
	m, n := len(a)/width, len(b)/width
	err := p.session.Run(ctx,
		[]ort.Tensor{{Shape: []int{m, width}, Float32: a}, {Shape: []int{n, width}, Float32: b}},
		[]ort.Tensor{{Shape: []int{m, n}, Float32: out}})
	if err != nil {
		return fmt.Errorf("neighbors: %w", err)
	}
	return nil
}

func (p runtimeProduct) close() error { return p.session.Close() }

// gonum multiplies without ONNX Runtime.
type gonum struct{}

// From four blocks of 64 × 64 on gonum would multiply in goroutines of its own,
// on all cores.
const gonumRows, gonumColumns = 64, 192

func (gonum) multiply(ctx context.Context, a, b []float32, width int, out []float32) error {
	m, n := len(a)/width, len(b)/width
	for first := 0; first < n; first += gonumColumns {
		if err := ctx.Err(); err != nil {
			return err
		}
		columns := min(gonumColumns, n-first)
		right := blas32.General{Rows: columns, Cols: width, Stride: width, Data: b[first*width:]}
		for row := 0; row < m; row += gonumRows {
			rows := min(gonumRows, m-row)
			left := blas32.General{Rows: rows, Cols: width, Stride: width, Data: a[row*width:]}
			products := blas32.General{Rows: rows, Cols: columns, Stride: n, Data: out[row*n+first:]}
			blas32.Gemm(blas.NoTrans, blas.Trans, 1, left, right, 0, products)
		}
	}
	return nil
}

func (gonum) close() error { return nil }

package convert

import (
	"context"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"

	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/runtime"
)

// foldFile holds the graph that folds, and its weights, while a table is folded.
const foldFile = "fold"

// foldTable puts the folded gene table, [n_genes + 2, emsize]: the genes in
// token order, then [CLS] and the dataset token, which are not normalised. A
// model without a dataset token has zeros there. The products run on ONNX
// Runtime.
func (w *weightsWriter) foldTable(ctx context.Context, dir string) error {
	session, cleanUp, err := w.foldSession(dir)
	if err != nil {
		return err
	}
	defer cleanUp()
	d, tokenDim := w.dims.EmSize, w.dims.TokenDim
	begin, err := w.out.Begin()
	if err != nil {
		return err
	}
	folded := make([]float32, min(rowsAtOnce, max(w.dims.NGenes, 1))*d)
	fold := func(rows []float32, n int) error {
		out := folded[:n*d]
		err := session.Run(ctx,
			[]runtime.Tensor{{Shape: []int{n, tokenDim}, Float32: rows}},
			[]runtime.Tensor{{Shape: []int{n, d}, Float32: out}})
		if err != nil {
			return err
		}
		return w.out.Write(out)
	}
	err = w.eachPiece(ctx, func(rows []float32, n int) error {
		for i := range n {
			normalise(rows[i*tokenDim : (i+1)*tokenDim])
		}
		return fold(rows, n)
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"cls_token", "dataset_token"} {
		if name == "dataset_token" && w.dims.DatasetDim == 0 {
			err = w.out.Write(make([]float32, d))
		} else {
			var token []float32
			if token, err = w.read(name); err == nil {
				err = fold(token, 1)
			}
		}
		if err != nil {
			return err
		}
	}
	w.placed["folded"] = weight{[]int{w.dims.NGenes + 2, d}, w.out.End(begin)}
	return nil
}

// normalise scales a row to unit length; a row of zeros stays (the bound is the
// one that the reference divides by at least).
func normalise(row []float32) {
	var sum float64
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	length := max(math.Sqrt(sum), 1e-12)
	for i, v := range row {
		row[i] = float32(float64(v) / length)
	}
}

// foldSession makes the graph from normalised rows, [n, token_dim], to folded
// ones, [n, emsize].
func (w *weightsWriter) foldSession(dir string) (*runtime.Session, func(), error) {
	path := filepath.Join(dir, foldFile)
	removeFiles := func() {
		_ = os.Remove(path + ".bin")
		_ = os.Remove(path + ".onnx")
	}
	out, err := onnx.CreateWeights(path + ".bin")
	if err != nil {
		return nil, nil, err
	}
	own := &weightsWriter{w.source, out, weights{}, func(int64) {}}
	_, err = finish(context.Background(), out, []func() error{
		func() error { return own.linear("encoder.0") },
		func() error { return own.norm("encoder.1") },
	})
	if err != nil {
		removeFiles()
		return nil, nil, err
	}
	g := newGraph("fold", own.source, own.placed)
	x := g.Op("MatMul", []onnx.Value{g.Input("rows", onnx.Float32, "n", w.dims.TokenDim), g.weight("encoder.0.weight")})
	if w.Config.ExpressionEncoding != scale {
		x = g.tokenFromProduct(x)
	}
	g.Output(x, "folded", onnx.Float32, "n", w.dims.EmSize)
	if err := g.write(path + ".onnx"); err != nil {
		removeFiles()
		return nil, nil, err
	}
	provider, err := runtime.ResolveDevice("cpu")
	if err != nil {
		return nil, nil, err
	}
	session, err := runtime.NewSession(path+".onnx", runtime.SessionOptions{
		Provider: provider, Threads: goruntime.GOMAXPROCS(0),
		Inputs: []string{"rows"}, Outputs: []string{"folded"},
	})
	if err != nil {
		removeFiles()
		return nil, nil, err
	}
	return session, func() {
		_ = session.Close()
		removeFiles()
	}, nil
}

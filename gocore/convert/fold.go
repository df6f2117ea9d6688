package convert

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"

	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/ort"
)

// foldFile holds the graph that folds, and its weights, while a table is folded.
const foldFile = "fold"

// foldTable puts the folded gene table, [n_genes + 2, emsize]: the genes in
// token order, then [CLS] and the dataset token, which are not normalised. A
// model without a dataset token has zeros there. The products run on ONNX
// Runtime.
func (w *weightsWriter) foldTable(ctx context.Context, dir string) error {
	fold, err := w.newFold(dir, func(g *graph, product onnx.Value) onnx.Value {
		if w.Config.ExpressionEncoding == scale {
			return product
		}
		return g.tokenFromProduct(product)
	})
	if err != nil {
		return err
	}
	defer fold.close()
	d, tokenDim := w.dims.EmSize, w.dims.TokenDim
	begin, err := w.out.Begin()
	if err != nil {
		return err
	}
	err = w.eachPiece(ctx, func(rows []float32, n int) error {
		for i := range n {
			normalise(rows[i*tokenDim : (i+1)*tokenDim])
		}
		return fold.run(ctx, rows, n)
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
				err = fold.run(ctx, token, 1)
			}
		}
		if err != nil {
			return err
		}
	}
	w.placed["folded"] = weight{onnx.Float32, []int{w.dims.NGenes + 2, d}, w.out.End(begin)}
	return nil
}

// geneEmbeddings puts the projection of every gene's row as it is, [n_genes,
// emsize].
func (w *weightsWriter) geneEmbeddings(ctx context.Context, dir string) error {
	fold, err := w.newFold(dir, (*graph).projectionFromProduct)
	if err != nil {
		return err
	}
	defer fold.close()
	return w.eachPiece(ctx, func(rows []float32, n int) error { return fold.run(ctx, rows, n) })
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

// fold projects rows of the gene table and writes what comes out.
type fold struct {
	*weightsWriter
	session *ort.Session
	files   string // path of the graph and its weights, without the extension
	folded  []float32
}

// newFold makes the graph from rows, [n, token_dim], to what finishProduct makes
// of their products with the projection's weights, [n, emsize].
func (w *weightsWriter) newFold(dir string, finishProduct func(*graph, onnx.Value) onnx.Value) (*fold, error) {
	f := &fold{weightsWriter: w, files: filepath.Join(dir, foldFile)}
	if err := f.open(finishProduct); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *fold) open(finishProduct func(*graph, onnx.Value) onnx.Value) error {
	out, err := onnx.CreateWeights(f.files + ".bin")
	if err != nil {
		return err
	}
	own := &weightsWriter{f.source, out, weights{}, func(int64) {}}
	_, err = finish(context.Background(), out, []func() error{
		func() error { return own.linear("encoder.0") },
		func() error { return own.norm("encoder.1") },
	})
	if err != nil {
		return err
	}
	g := newGraph(foldFile, own.source, own.placed)
	product := g.Op("MatMul", []onnx.Value{g.Input("rows", onnx.Float32, "n", f.dims.TokenDim), g.weight("encoder.0.weight")})
	g.Output(finishProduct(g, product), "folded", onnx.Float32, "n", f.dims.EmSize)
	if err := g.write(f.files + ".onnx"); err != nil {
		return err
	}
	provider, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		return err
	}
	f.session, err = ort.NewSession(f.files+".onnx", ort.SessionOptions{
		Provider: provider, Threads: runtime.GOMAXPROCS(0),
		Inputs: []string{"rows"}, Outputs: []string{"folded"},
	})
	return err
}

// run projects n rows.
func (f *fold) run(ctx context.Context, rows []float32, n int) error {
	d := f.dims
	if f.folded == nil {
		f.folded = make([]float32, min(rowsAtOnce, d.NGenes)*d.EmSize)
	}
	out := f.folded[:n*d.EmSize]
	err := f.session.Run(ctx,
		[]ort.Tensor{{Shape: []int{n, d.TokenDim}, Float32: rows}},
		[]ort.Tensor{{Shape: []int{n, d.EmSize}, Float32: out}})
	if err != nil {
		return err
	}
	return f.out.Write(out)
}

func (f *fold) close() {
	if f.session != nil {
		_ = f.session.Close()
	}
	_ = os.Remove(f.files + ".bin")
	_ = os.Remove(f.files + ".onnx")
}

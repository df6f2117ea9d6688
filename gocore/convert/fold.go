package convert

import (
	"context"
	"math"
	"runtime"

	"github.com/se600m/se600m-go/gocore/graph"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
)

// foldTable puts the folded gene table, [n_genes + 2, emsize]: the genes in
// token order, then [CLS] and the dataset token, which are not normalised. A
// model without a dataset token has zeros there. The products run on ONNX
// Runtime.
func (w *weightsWriter) foldTable(ctx context.Context) error {
	p, err := w.openProjection(graph.FoldedProjection)
	if err != nil {
		return err
	}
	defer p.close()
	d, tokenDim := w.dims.EmSize, w.dims.TokenDim
	begin, err := w.out.Begin()
	if err != nil {
		return err
	}
	err = w.eachPiece(ctx, func(rows []float32, n int) error {
		for i := range n {
			normalise(rows[i*tokenDim : (i+1)*tokenDim])
		}
		return p.run(ctx, rows, n)
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
				err = p.run(ctx, token, 1)
			}
		}
		if err != nil {
			return err
		}
	}
	w.note(modeldir.FoldedTable, w.out.End(begin), w.dims.NGenes+2, d)
	return nil
}

// writeGeneEmbeddings writes gene_embeddings.bin: the projection of every gene's
// row as it is, [n_genes, emsize].
func (c *conversion) writeGeneEmbeddings(ctx context.Context) error {
	return c.file(ctx, modeldir.GeneEmbeddingsFile, func(w *weightsWriter) error {
		p, err := w.openProjection(graph.GeneProjection)
		if err != nil {
			return err
		}
		defer p.close()
		return w.eachPiece(ctx, func(rows []float32, n int) error { return p.run(ctx, rows, n) })
	})
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

// projection projects rows of the gene table and writes what comes out.
type projection struct {
	*weightsWriter
	session   *ort.Session
	projected []float32
}

// openProjection opens a graph over source.bin, which is written before.
func (w *weightsWriter) openProjection(graphOf func(*modeldir.Config, modeldir.Weights) ([]byte, error)) (*projection, error) {
	model, err := graphOf(w.config, w.placed)
	if err != nil {
		return nil, err
	}
	provider, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		return nil, err
	}
	session, err := ort.NewSession(model, ort.SessionOptions{
		Name: "projection", Dir: w.dir, Provider: provider, Threads: runtime.GOMAXPROCS(0),
		Inputs: []string{graph.ProjectionInput}, Outputs: []string{graph.ProjectionOutput},
	})
	if err != nil {
		return nil, err
	}
	return &projection{w, session, make([]float32, min(rowsAtOnce, w.dims.NGenes)*w.dims.EmSize)}, nil
}

// run projects n rows.
func (p *projection) run(ctx context.Context, rows []float32, n int) error {
	out := p.projected[:n*p.dims.EmSize]
	err := p.session.Run(ctx,
		[]ort.Tensor{{Shape: []int{n, p.dims.TokenDim}, Float32: rows}},
		[]ort.Tensor{{Shape: []int{n, p.dims.EmSize}, Float32: out}})
	if err != nil {
		return err
	}
	return p.out.Write(out)
}

func (p *projection) close() { _ = p.session.Close() }

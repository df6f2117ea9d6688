package convert

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// weight is a tensor of the graphs, in its place in an external data file.
type weight struct {
	elem  onnx.ElementType
	shape []int
	at    onnx.Location
}

// weights are the tensors of the graphs by name. Linear weights are stored as
// [in, out], ready for MatMul, queries, keys and values apart.
type weights map[string]weight

// weightsWriter writes tensors into an external data file and notes where.
type weightsWriter struct {
	*source
	out      *onnx.WeightsWriter
	placed   weights
	progress func(nBytes int64)
}

func (w *weightsWriter) put(name string, values []float32, shape ...int) error {
	at, err := w.out.Tensor(values)
	if err != nil {
		return err
	}
	w.placed[name] = weight{onnx.Float32, shape, at}
	w.progress(at.Length)
	return nil
}

// copies puts tensors as they are.
func (w *weightsWriter) copies(names ...string) error {
	for _, name := range names {
		values, err := w.read(name)
		if err != nil {
			return err
		}
		if err := w.put(name, values, w.Tensors[name].Shape...); err != nil {
			return err
		}
	}
	return nil
}

// linear puts a Linear layer's bias, and its weight as [in, out].
func (w *weightsWriter) linear(names ...string) error {
	for _, name := range names {
		values, err := w.read(name + ".weight")
		if err != nil {
			return err
		}
		out, in := w.Tensors[name+".weight"].Shape[0], w.Tensors[name+".weight"].Shape[1]
		if err := w.put(name+".weight", transpose(values, out, in), in, out); err != nil {
			return err
		}
		if err := w.copies(name + ".bias"); err != nil {
			return err
		}
	}
	return nil
}

func (w *weightsWriter) norm(name string) error { return w.copies(name+".weight", name+".bias") }

func (w *weightsWriter) skipBlock(name string) error {
	if err := w.linear(name+".intermediate_dense", name+".dense"); err != nil {
		return err
	}
	return w.norm(name + ".layer_norm")
}

// layer puts one transformer layer.
func (w *weightsWriter) layer(i int) error {
	prefix, d := layerPrefix(i), w.dims.EmSize
	qkv, err := w.read(prefix + "qkv_proj.weight")
	if err != nil {
		return err
	}
	for k, part := range []string{"q", "k", "v"} {
		if err := w.put(prefix+part, transpose(qkv[k*d*d:(k+1)*d*d], d, d), d, d); err != nil {
			return err
		}
	}
	if err := w.copies(prefix + "qkv_proj.bias"); err != nil {
		return err
	}
	if err := w.linear(prefix+"out_proj", prefix+"linear1", prefix+"linear2"); err != nil {
		return err
	}
	if err := w.norm(prefix + "norm1"); err != nil {
		return err
	}
	return w.norm(prefix + "norm2")
}

// writeWeights writes weights.bin: the folded table, and everything after it.
func (s *source) writeWeights(ctx context.Context, dir string, placed weights, progress func(int64)) (info modeldir.FileInfo, err error) {
	out, err := onnx.CreateWeights(filepath.Join(dir, modeldir.WeightsFile))
	if err != nil {
		return info, err
	}
	w := &weightsWriter{s, out, placed, progress}
	steps := []func() error{
		func() error { return w.foldTable(ctx, dir) },
		func() error { return w.skipBlock("decoder.0") },
		func() error { return w.linear("decoder.1") },
	}
	switch s.Config.ExpressionEncoding {
	case softBins:
		steps = append(steps,
			func() error { return w.linear("count_encoder.0", "count_encoder.2") },
			func() error { return w.copies("bin_encoder.weight") })
	case scale: // expression comes before bias and LayerNorm, which stay
		steps = append(steps,
			func() error { return w.copies("encoder.0.bias") },
			func() error { return w.norm("encoder.1") })
	}
	if s.dims.DatasetDim > 0 {
		steps = append(steps, func() error { return w.linear("dataset_embedder") })
	}
	for i := range s.dims.NLayers {
		steps = append(steps, func() error { return w.layer(i) })
	}
	return finish(ctx, out, steps)
}

// writeSource writes source.bin: what the trace graph needs beyond weights.bin.
func (s *source) writeSource(ctx context.Context, dir string, placed weights, progress func(int64)) (info modeldir.FileInfo, err error) {
	out, err := onnx.CreateWeights(filepath.Join(dir, modeldir.SourceFile))
	if err != nil {
		return info, err
	}
	w := &weightsWriter{s, out, placed, progress}
	steps := []func() error{
		func() error { return w.geneTable(ctx) },
		func() error { return w.linear("encoder.0") },
		func() error { return w.norm("encoder.1") },
		func() error { return w.copies("cls_token") },
	}
	if s.dims.DatasetDim > 0 {
		steps = append(steps, func() error { return w.copies("dataset_token") })
	}
	return finish(ctx, out, steps)
}

// writeGeneEmbeddings writes gene_embeddings.bin.
func (s *source) writeGeneEmbeddings(ctx context.Context, dir string, progress func(int64)) (info modeldir.FileInfo, err error) {
	out, err := onnx.CreateWeights(filepath.Join(dir, modeldir.GeneEmbeddingsFile))
	if err != nil {
		return info, err
	}
	w := &weightsWriter{s, out, weights{}, progress}
	return finish(ctx, out, []func() error{func() error { return w.geneEmbeddings(ctx, dir) }})
}

// geneTable puts the table as the checkpoint has it.
func (w *weightsWriter) geneTable(ctx context.Context) error {
	begin, err := w.out.Begin()
	if err != nil {
		return err
	}
	err = w.eachPiece(ctx, func(rows []float32, _ int) error { return w.out.Write(rows) })
	if err != nil {
		return err
	}
	w.placed["gene_table"] = weight{onnx.Float32, []int{w.dims.NGenes, w.dims.TokenDim}, w.out.End(begin)}
	return nil
}

// rowsAtOnce is how many rows of the gene table are in memory at a time (20 MB
// at SE-600M's width).
const rowsAtOnce = 1024

// eachPiece reads the gene table piece by piece.
func (w *weightsWriter) eachPiece(ctx context.Context, use func(rows []float32, n int) error) error {
	rows := make([]float32, min(rowsAtOnce, w.dims.NGenes)*w.dims.TokenDim)
	for first := 0; first < w.dims.NGenes; first += rowsAtOnce {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("convert: %w", err)
		}
		n := min(rowsAtOnce, w.dims.NGenes-first)
		piece := rows[:n*w.dims.TokenDim]
		if err := w.Genes.ReadRows(piece, first, n); err != nil {
			return err
		}
		if err := checkFinite("gene table", piece); err != nil {
			return err
		}
		if err := use(piece, n); err != nil {
			return err
		}
		w.progress(int64(len(piece)) * 4)
	}
	return nil
}

// finish runs the steps and closes the file.
func finish(ctx context.Context, out *onnx.WeightsWriter, steps []func() error) (info modeldir.FileInfo, err error) {
	for _, step := range steps {
		if err = ctx.Err(); err == nil {
			err = step()
		}
		if err != nil {
			out.Abort()
			return info, err
		}
	}
	info.Size, info.SHA256, err = out.Close()
	return info, err
}

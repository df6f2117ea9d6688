package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// weightsWriter writes tensors into one of the directory's files and notes
// where.
type weightsWriter struct {
	*conversion
	out *onnx.WeightsWriter
}

// step puts some tensors.
type step func(*weightsWriter) error

// file writes one of the directory's files.
func (c *conversion) file(ctx context.Context, name string, steps ...step) error {
	out, err := onnx.CreateWeights(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	w := &weightsWriter{c, out}
	for _, put := range steps {
		if err = ctx.Err(); err == nil {
			err = put(w)
		}
		if err != nil {
			out.Abort()
			return err
		}
	}
	var info modeldir.FileInfo
	info.Size, info.SHA256, err = out.Close()
	c.config.Files[name] = info
	return err
}

func (w *weightsWriter) put(name string, values []float32, shape ...int) error {
	at, err := w.out.Tensor(values)
	if err != nil {
		return err
	}
	w.note(name, at, shape...)
	w.progress(at.Length)
	return nil
}

// note notes where a tensor of float32 lies.
func (w *weightsWriter) note(name string, at onnx.Location, shape ...int) {
	w.placed[name] = modeldir.Weight{File: at.File, Element: modeldir.Float32, Shape: shape, Offset: at.Offset}
}

// read reads a tensor whole, makes sure that its values are numbers, and notes
// what they are.
func (w *weightsWriter) read(name string) ([]float32, error) {
	t := w.Tensors[name]
	values := make([]float32, t.NumElements())
	if err := t.ReadFloat32(values, 0); err != nil {
		return nil, err
	}
	if err := checkFinite(name, values); err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(onnx.Bytes(nil, values))
	w.contents[name] = hex.EncodeToString(sum.Sum(nil))
	return values, nil
}

// copies puts tensors as they are.
func copies(names ...string) step {
	return func(w *weightsWriter) error {
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
}

// linear puts Linear layers' biases, and their weights as [in, out].
func linear(names ...string) step {
	return func(w *weightsWriter) error {
		for _, name := range names {
			values, err := w.read(name + ".weight")
			if err != nil {
				return err
			}
			out, in := w.Tensors[name+".weight"].Shape[0], w.Tensors[name+".weight"].Shape[1]
			if err := w.put(name+".weight", transpose(values, out, in), in, out); err != nil {
				return err
			}
			if err := copies(name + ".bias")(w); err != nil {
				return err
			}
		}
		return nil
	}
}

func norm(name string) step { return copies(name+".weight", name+".bias") }

func skipBlock(name string) []step {
	return []step{linear(name+".intermediate_dense", name+".dense"), norm(name + ".layer_norm")}
}

// layer puts one transformer layer.
func layer(i int) []step {
	prefix := modeldir.LayerPrefix(i)
	return []step{
		func(w *weightsWriter) error {
			d := w.dims.EmSize
			qkv, err := w.read(prefix + "qkv_proj.weight")
			if err != nil {
				return err
			}
			for k, part := range []string{modeldir.Queries, modeldir.Keys, modeldir.Values} {
				if err := w.put(prefix+part, transpose(qkv[k*d*d:(k+1)*d*d], d, d), d, d); err != nil {
					return err
				}
			}
			return nil
		},
		copies(prefix + "qkv_proj.bias"),
		linear(prefix+"out_proj", prefix+"linear1", prefix+"linear2"),
		norm(prefix + "norm1"), norm(prefix + "norm2"),
	}
}

// writeSource writes source.bin: what tokens are made of.
func (c *conversion) writeSource(ctx context.Context) error {
	tokens := []string{"cls_token"}
	if c.dims.DatasetDim > 0 {
		tokens = append(tokens, "dataset_token")
	}
	return c.file(ctx, modeldir.SourceFile,
		func(w *weightsWriter) error { return w.geneTable(ctx) }, linear("encoder.0"), norm("encoder.1"), copies(tokens...))
}

// writeWeights writes weights.bin: the folded table, and everything after it.
func (c *conversion) writeWeights(ctx context.Context) error {
	steps := []step{func(w *weightsWriter) error { return w.foldTable(ctx) }}
	steps = append(steps, skipBlock("decoder.0")...)
	steps = append(steps, linear("decoder.1"))
	if c.Config.ExpressionEncoding == modeldir.SoftBins {
		steps = append(steps, linear("count_encoder.0", "count_encoder.2"), copies("bin_encoder.weight"))
	}
	if c.dims.DatasetDim > 0 {
		steps = append(steps, linear("dataset_embedder"))
	}
	for i := range c.dims.NLayers {
		steps = append(steps, layer(i)...)
	}
	return c.file(ctx, modeldir.WeightsFile, steps...)
}

// geneTable puts the table as the checkpoint has it.
func (w *weightsWriter) geneTable(ctx context.Context) error {
	begin, err := w.out.Begin()
	if err != nil {
		return err
	}
	sum := sha256.New()
	var buffer []byte
	err = w.eachPiece(ctx, func(rows []float32, _ int) error {
		buffer = onnx.Bytes(buffer[:0], rows)
		sum.Write(buffer)
		return w.out.Write(rows)
	})
	if err != nil {
		return err
	}
	w.contents[modeldir.GeneTable] = hex.EncodeToString(sum.Sum(nil))
	w.note(modeldir.GeneTable, w.out.End(begin), w.dims.NGenes, w.dims.TokenDim)
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

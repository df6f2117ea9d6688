package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/embed"
)

func (r *request) geneEmbeddings() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	genes, err := optional[int32](r.Genes, "int32")
	if err != nil {
		return nil, err
	}
	out, err := typed[float32](r.Output, "float32")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ *job) (any, error) {
		return nil, m.GeneEmbeddings(ctx, genes, out)
	}, nil
}

func (r *request) decode() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	d := &embed.Decode{NCells: r.NCells, Threads: r.Threads}
	if d.Embedding, err = typed[float32](r.Embedding, "float32"); err != nil {
		return nil, err
	}
	if d.ReadDepth, err = optional[float32](r.ReadDepth, "float32"); err != nil {
		return nil, err
	}
	if d.Dataset, err = optional[float32](r.Dataset, "float32"); err != nil {
		return nil, err
	}
	if d.Genes, err = optional[int32](r.Genes, "int32"); err != nil {
		return nil, err
	}
	out, err := typed[float32](r.Output, "float32")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, j *job) (any, error) {
		j.total.Store(int64(len(out)))
		d.Progress = func(n int) { j.done.Add(int64(n)) }
		return nil, m.Decode(ctx, d, out)
	}, nil
}

func (r *request) contextual() (work, error) {
	m, c, err := r.cells()
	if err != nil {
		return nil, err
	}
	out := embed.Contextual{Slots: r.Slots}
	if out.Genes, err = optional[int32](r.Genes, "int32"); err != nil {
		return nil, err
	}
	if out.Embeddings, err = typed[float32](r.Output, "float32"); err != nil {
		return nil, err
	}
	if out.Genes == nil {
		if out.GeneIndices, err = typed[int32](r.GeneIndices, "int32"); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, j *job) (any, error) {
		j.total.Store(int64(c.Matrix.NCells()))
		c.Progress = func(n int) { j.done.Add(int64(n)) }
		return reportOf(m.Contextual(ctx, c, out))
	}, nil
}

package embed_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// embedded draws embeddings, read depths and dataset embeddings.
func embedded(m *embed.Model, n int) *embed.Decode {
	random := rand.New(rand.NewPCG(11, 3))
	draw := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		return values
	}
	d := &embed.Decode{NCells: n, Embedding: draw(n * m.Config.Dimensions.OutputDim), Dataset: draw(n * m.Config.Decoder.DatasetDim)}
	if m.Config.Decoder.ReadDepth {
		d.ReadDepth = draw(n)
	}
	return d
}

// part is some cells and genes of d.
func part(m *embed.Model, d *embed.Decode, from, to int, genes []int32) *embed.Decode {
	rows := func(values []float32, width int) []float32 { return values[from*width : to*width] }
	p := &embed.Decode{
		NCells: to - from, Genes: genes, Embedding: rows(d.Embedding, m.Config.Dimensions.OutputDim),
		Dataset: rows(d.Dataset, m.Config.Decoder.DatasetDim),
	}
	if d.ReadDepth != nil {
		p.ReadDepth = rows(d.ReadDepth, 1)
	}
	return p
}

func decode(t *testing.T, m *embed.Model, d *embed.Decode) []float32 {
	t.Helper()
	out := make([]float32, d.NCells*len(d.Genes))
	if err := m.Decode(t.Context(), d, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDecodeAPairOnItsOwn(t *testing.T) {
	for _, c := range []struct {
		name    string
		dims    statetest.Dims
		dataset bool
	}{
		{"with a dataset embedding", statetest.Small, true},
		{"without", statetest.Small, false},
		{"odd widths", statetest.Dims{
			NGenes: 40, TokenDim: 11, EmSize: 21, DHid: 13, NHead: 3, NLayers: 1, OutputDim: 9, PadLength: 20,
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			statetest.NeedRuntime(t)
			m := openModel(t, statetest.NewModel(c.dims, "soft-bins", c.dataset))
			// More pairs than a block has.
			all := embedded(m, 500)
			for i := range 40 {
				all.Genes = append(all.Genes, int32((i*7)%40))
			}
			want := decode(t, m, all)
			for _, threads := range []int{1, 2, 3, 8} {
				all.Threads = threads
				if got := decode(t, m, all); !slices.Equal(got, want) {
					t.Errorf("%d threads: other numbers", threads)
				}
			}
			for _, p := range []struct{ from, to, firstGene, nGenes int }{
				{0, 1, 0, 1}, {499, 500, 39, 1}, {7, 8, 3, 2}, {7, 9, 3, 1}, {100, 117, 5, 19}, {3, 4, 0, 40}, {0, 500, 39, 1},
			} {
				got := decode(t, m, part(m, all, p.from, p.to, all.Genes[p.firstGene:p.firstGene+p.nGenes]))
				for i := range p.to - p.from {
					at := (p.from+i)*40 + p.firstGene
					if !slices.Equal(got[i*p.nGenes:(i+1)*p.nGenes], want[at:at+p.nGenes]) {
						t.Fatalf("%+v: cell %d has other numbers", p, p.from+i)
					}
				}
			}
		})
	}
}

// openModel converts a checkpoint and opens it.
func openModel(t *testing.T, checkpoint *statetest.Model) *embed.Model {
	t.Helper()
	src, dir := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "converted")
	if err := checkpoint.WriteFolder(src); err != nil {
		t.Fatal(err)
	}
	if err := convert.Convert(t.Context(), src, dir, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	m, err := embed.Open(dir, "cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestDecodeMatchesPlainArithmetic computes one pair in float64, in one piece.
func TestDecodeMatchesPlainArithmetic(t *testing.T) {
	statetest.NeedRuntime(t)
	checkpoint := statetest.NewModel(statetest.Small, "soft-bins", true)
	m := openModel(t, checkpoint)
	d := embedded(m, 2)
	d.Genes = []int32{5, 17}
	got := decode(t, m, d)

	values := func(name string) []float64 {
		wide := make([]float64, 0)
		for _, v := range checkpoint.Tensors[name].Values() {
			wide = append(wide, float64(v))
		}
		return wide
	}
	linear := func(name string, x []float64) []float64 {
		w, b := values(name+".weight"), values(name+".bias")
		y := make([]float64, len(b))
		for i := range y {
			y[i] = b[i]
			for k, v := range x {
				y[i] += w[i*len(x)+k] * v
			}
		}
		return y
	}
	norm := func(name string, x []float64) []float64 {
		w, b := values(name+".weight"), values(name+".bias")
		var mean, variance float64
		for _, v := range x {
			mean += v / float64(len(x))
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / float64(len(x))
		}
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = (v-mean)/math.Sqrt(variance+1e-5)*w[i] + b[i]
		}
		return y
	}
	skip := func(name string, x []float64) []float64 {
		h := linear(name+".intermediate_dense", x)
		for i, v := range h {
			h[i] = max(v, 0)
		}
		h = linear(name+".dense", h)
		for i, v := range x {
			h[i] += v
		}
		return norm(name+".layer_norm", h)
	}
	dims := m.Config.Dimensions
	for cell := range 2 {
		for gene, token := range d.Genes {
			var row []float64
			for _, v := range checkpoint.Table[token] {
				row = append(row, float64(v))
			}
			x := norm("encoder.1", linear("encoder.0", row))
			for i, v := range x {
				x[i] = v / (1 + math.Exp(-v))
			}
			for _, more := range [][]float32{
				d.Embedding[cell*dims.OutputDim : (cell+1)*dims.OutputDim], d.ReadDepth[cell : cell+1], d.Dataset[cell*10 : (cell+1)*10],
			} {
				for _, v := range more {
					x = append(x, float64(v))
				}
			}
			want := linear("binary_decoder.2", skip("binary_decoder.1", skip("binary_decoder.0", x)))[0]
			if math.Abs(float64(got[cell*2+gene])-want) > 1e-5 {
				t.Errorf("cell %d, gene %d: %v, want %v", cell, token, got[cell*2+gene], want)
			}
		}
	}
}

func TestDecodeProgressAndCancelling(t *testing.T) {
	m := open(t, "soft-bins", true)
	d := embedded(m, 900)
	for i := range 40 {
		d.Genes = append(d.Genes, int32(i))
	}
	var done atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	d.Progress = func(n int) { done.Add(int64(n)) }
	decode(t, m, d)
	if done.Load() != 900*40 {
		t.Errorf("progress says %d of %d", done.Load(), 900*40)
	}
	d.Progress = func(int) { cancel() }
	if err := m.Decode(ctx, d, make([]float32, 900*40)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestDecodeRefuses(t *testing.T) {
	m := open(t, "soft-bins", true)
	for _, c := range []struct {
		name  string
		spoil func(d *embed.Decode)
		says  string
	}{
		{"an embedding too short", func(d *embed.Decode) { d.Embedding = d.Embedding[1:] }, "embedding values"},
		{"no read depth", func(d *embed.Decode) { d.ReadDepth = nil }, "0 read depths"},
		{"no dataset embedding", func(d *embed.Decode) { d.Dataset = nil }, "0 dataset values"},
		{"a gene below zero", func(d *embed.Decode) { d.Genes[1] = -1 }, "token -1"},
		{"[CLS]", func(d *embed.Decode) { d.Genes[1] = 40 }, "token 40"},
		{"threads", func(d *embed.Decode) { d.Threads = -1 }, "threads=-1"},
		{"a gene more than memory", func(d *embed.Decode) { d.Genes = append(d.Genes, 1) }, "memory for 6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := embedded(m, 3)
			d.Genes = []int32{1, 2}
			c.spoil(d)
			err := m.Decode(t.Context(), d, make([]float32, 6))
			if !errors.Is(err, embed.ErrOption) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v saying %q", err, embed.ErrOption, c.says)
			}
		})
	}
	t.Run("a model without a decoder", func(t *testing.T) {
		checkpoint := statetest.NewModel(statetest.Small, "soft-bins", true)
		for name := range checkpoint.Tensors {
			if strings.HasPrefix(name, "binary_decoder.") {
				delete(checkpoint.Tensors, name)
			}
		}
		plain := openModel(t, checkpoint)
		if err := plain.Decode(t.Context(), &embed.Decode{}, nil); !errors.Is(err, embed.ErrLacks) {
			t.Errorf("got %v, want %v", err, embed.ErrLacks)
		}
	})
	t.Run("a model that was closed", func(t *testing.T) {
		closed := open(t, "none", false)
		d := embedded(closed, 1)
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		if err := closed.Decode(t.Context(), d, nil); !errors.Is(err, embed.ErrClosed) {
			t.Errorf("got %v, want %v", err, embed.ErrClosed)
		}
	})
}

func TestGeneEmbeddings(t *testing.T) {
	m := open(t, "scale", false)
	d := m.Config.Dimensions.EmSize
	one, both := make([]float32, d), make([]float32, 2*d)
	for _, token := range []int32{0, 39} {
		if err := errors.Join(
			m.GeneEmbeddings(t.Context(), []int32{token}, one), m.GeneEmbeddings(t.Context(), []int32{20, token}, both),
		); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(one, both[d:]) || slices.Equal(one, both[:d]) {
			t.Errorf("gene %d alone is %v, beside another one %v", token, one, both)
		}
	}
	for _, wrong := range [][]int32{{-1}, {40}, {1, 2}} {
		if err := m.GeneEmbeddings(t.Context(), wrong, one); !errors.Is(err, embed.ErrOption) {
			t.Errorf("genes %v: got %v, want %v", wrong, err, embed.ErrOption)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.GeneEmbeddings(ctx, []int32{1}, one); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if err := os.Truncate(filepath.Join(m.Dir, modeldir.GeneEmbeddingsFile), 7); err != nil {
		t.Fatal(err)
	}
	if err := m.GeneEmbeddings(t.Context(), []int32{1}, one); !errors.Is(err, modeldir.ErrNotAModel) {
		t.Errorf("got %v, want %v", err, modeldir.ErrNotAModel)
	}
}

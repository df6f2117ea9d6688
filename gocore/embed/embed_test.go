package embed_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// open converts a small random checkpoint and opens it.
func open(t *testing.T, encoding string, dataset bool) *embed.Model {
	t.Helper()
	return embed.OpenConverted(t, converted(t, encoding, dataset))
}

func converted(t *testing.T, encoding string, dataset bool) (dir string) {
	t.Helper()
	return embed.Converted(t, statetest.Small, encoding, dataset)
}

// counts are random cells, as CSR, over a number of the model's genes and one
// that it does not know.
type counts struct {
	nCells, nGenes int
	data           []float32
	indices        []int32
	indptr         []int64
}

func draw(nCells, nGenes int) *counts {
	random := rand.New(rand.NewPCG(7, uint64(nGenes)))
	c := &counts{nCells: nCells, nGenes: nGenes + 1, indptr: []int64{0}}
	for cell := range nCells {
		share := random.Float64()
		for gene := range c.nGenes {
			if random.Float64() < share && cell%10 != 9 { // every tenth cell is empty
				c.data = append(c.data, float32(1+random.IntN(50)))
				c.indices = append(c.indices, int32(gene))
			}
		}
		c.indptr = append(c.indptr, int64(len(c.data)))
	}
	return c
}

// cells views some of the cells.
func (c *counts) cells(t *testing.T, from, to int) *embed.Cells {
	t.Helper()
	m, err := expression.NewCSR(to-from, c.nGenes, c.data, c.indices, c.indptr[from:to+1])
	if err != nil {
		t.Fatal(err)
	}
	tokens := make([]int32, c.nGenes)
	for i := range tokens {
		tokens[i] = int32(i)
	}
	tokens[1] = -1 // the unknown one
	tokens[c.nGenes-1] = 1
	return &embed.Cells{Matrix: m, Tokens: tokens, FirstRow: from, Seed: 3, Scale: expression.Counts, Threads: 2}
}

func output(m *embed.Model, n int) embed.Output {
	d := m.Config.Dimensions
	return embed.Output{Embedding: make([]float32, n*d.OutputDim), Dataset: make([]float32, n*d.DatasetDim)}
}

func run(t *testing.T, m *embed.Model, c *embed.Cells) (embed.Output, embed.Report) {
	t.Helper()
	out := output(m, c.Matrix.NCells())
	report, err := m.Embed(t.Context(), c, out)
	if err != nil {
		t.Fatal(err)
	}
	return out, report
}

func equal(a, b embed.Output) bool {
	return slices.Equal(a.Embedding, b.Embedding) && slices.Equal(a.Dataset, b.Dataset)
}

const nCells = 70

// fills are the policies for a whole transcriptome (30 valid genes for 19
// slots) and for a panel (10).
var fills = []struct {
	name   string
	nGenes int
	fill   sentence.Fill
}{
	{"shared", 30, sentence.Shared},
	{"independent", 30, sentence.Independent},
	{"expected", 10, sentence.Expected},
	{"none", 30, sentence.None},
	{"shared on a panel", 10, sentence.Shared},
}

func TestRowsComeInOrder(t *testing.T) {
	m := open(t, "soft-bins", true)
	for _, f := range fills {
		t.Run(f.name, func(t *testing.T) {
			data := draw(nCells, f.nGenes)
			all := data.cells(t, 0, nCells)
			all.Fill = f.fill
			whole, _ := run(t, m, all)
			d := m.Config.Dimensions
			for i := range nCells {
				one := data.cells(t, i, i+1)
				one.Fill = f.fill
				alone, _ := run(t, m, one)
				if !slices.Equal(alone.Embedding, whole.Embedding[i*d.OutputDim:(i+1)*d.OutputDim]) ||
					!slices.Equal(alone.Dataset, whole.Dataset[i*d.DatasetDim:(i+1)*d.DatasetDim]) {
					t.Fatalf("cell %d alone has another row", i)
				}
				var sum float64
				for _, v := range alone.Embedding {
					sum += float64(v) * float64(v)
				}
				if math.Abs(sum-1) > 1e-6 {
					t.Fatalf("cell %d has a row of squared length %v", i, sum)
				}
			}
		})
	}
}

func TestBatchesAndThreadsChangeNothing(t *testing.T) {
	m := open(t, "soft-bins", true)
	for _, f := range fills {
		t.Run(f.name, func(t *testing.T) {
			data := draw(nCells, f.nGenes)
			var want embed.Output
			for i, how := range []struct{ batchSize, threads int }{{0, 1}, {1, 1}, {3, 2}, {64, 5}, {1 << 20, 2}, {0, 0}} {
				c := data.cells(t, 0, nCells)
				c.Fill, c.BatchSize, c.Threads = f.fill, how.batchSize, how.threads
				got, _ := run(t, m, c)
				if i == 0 {
					want = got
				} else if !equal(got, want) {
					t.Errorf("batches of %d on %d threads: other numbers", how.batchSize, how.threads)
				}
			}
		})
	}
}

func TestReportAndProgress(t *testing.T) {
	m := open(t, "none", true)
	c := draw(nCells, 30).cells(t, 0, nCells)
	var mu sync.Mutex
	done := 0
	c.Progress = func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += n
	}
	c.Scale = expression.Auto
	out := output(m, nCells)
	report, err := m.Embed(t.Context(), c, out)
	if err != nil || done != nCells {
		t.Errorf("progress says %d of %d, %v", done, nCells, err)
	}
	// Cells of zeros are neither counts nor log1p values.
	judged := report.NCounts + report.NLog1p
	if judged > nCells || judged+report.NEmpty < nCells || report.NCounts == 0 || report.NLog1p == 0 ||
		report.NEmpty < 7 || report.NValid != 30 || report.Fill != sentence.Shared || report.NNegative != 0 {
		t.Errorf("%+v", report)
	}
	again, err := m.Tokenize(t.Context(), c, sentences(nCells, 20))
	if err != nil || again != report || done != 2*nCells {
		t.Errorf("tokenising reports %+v, %v, embedding %+v; progress says %d", again, err, report, done)
	}
}

func TestNegativeValuesAreCounted(t *testing.T) {
	m := open(t, "none", false)
	data := draw(4, 30)
	data.data[data.indptr[1]], data.data[data.indptr[1]+1], data.data[data.indptr[2]] = -1, -2, -3
	_, report := run(t, m, data.cells(t, 0, 4))
	if report.NNegative != 3 || report.NNegativeCells != 2 {
		t.Errorf("%+v", report)
	}
}

func TestNoCells(t *testing.T) {
	m := open(t, "soft-bins", true)
	c := draw(1, 30).cells(t, 0, 0)
	report, err := m.Embed(t.Context(), c, embed.Output{})
	if err != nil || report.NValid != 30 || report.NCounts != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if err := m.EmbedSentences(t.Context(), &embed.Given{Length: 3}, embed.Output{}); err != nil {
		t.Error(err)
	}
}

func TestTheDatasetEmbeddingMayBeLeftOut(t *testing.T) {
	for _, dataset := range []bool{true, false} {
		t.Run(fmt.Sprint("dataset token ", dataset), func(t *testing.T) {
			m, data := open(t, "soft-bins", dataset), draw(5, 30)
			want, _ := run(t, m, data.cells(t, 0, 5))
			got := embed.Output{Embedding: make([]float32, len(want.Embedding))}
			if _, err := m.Embed(t.Context(), data.cells(t, 0, 5), got); err != nil || !slices.Equal(got.Embedding, want.Embedding) {
				t.Errorf("other numbers, or %v", err)
			}
		})
	}
}

// One model serves any number of goroutines.
func TestConcurrentUse(t *testing.T) {
	m := open(t, "soft-bins", true)
	type result struct {
		data *counts
		want embed.Output
	}
	results := make([]result, len(fills))
	for i, f := range fills {
		results[i].data = draw(nCells, f.nGenes)
		c := results[i].data.cells(t, 0, nCells)
		c.Fill = f.fill
		results[i].want, _ = run(t, m, c)
	}
	fresh, err := embed.Open(m.Dir, "cpu", "auto") // its sessions are opened by all of them at once
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i, f := range fills {
		for threads := range 2 {
			c := results[i].data.cells(t, 0, nCells)
			c.Fill, c.Threads = f.fill, threads+1
			group.Go(func() {
				out := output(fresh, nCells)
				if _, err := fresh.Embed(t.Context(), c, out); err != nil || !equal(out, results[i].want) {
					t.Errorf("%s: other numbers, or %v", f.name, err)
				}
			})
		}
	}
	group.Wait()
	if err := errors.Join(fresh.Close(), fresh.Close()); err != nil {
		t.Error(err)
	}
}

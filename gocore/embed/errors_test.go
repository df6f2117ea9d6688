package embed_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

func TestRefusedModels(t *testing.T) {
	dir := converted(t, "none", false)
	if _, err := embed.Open(t.TempDir(), "cpu", "auto"); !errors.Is(err, modeldir.ErrNotAModel) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := embed.Open(dir, "abacus", "auto"); !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("no such device: %v", err)
	}
	index := filepath.Join(dir, modeldir.Float32.IndexFile())
	info, err := os.Stat(index)
	if err == nil {
		err = os.WriteFile(index, make([]byte, info.Size()), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := embed.Open(dir, "cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Embed(t.Context(), draw(3, 30).cells(t, 0, 3), output(m, 3)); !errors.Is(err, modeldir.ErrNotAModel) {
		t.Errorf("an index of zeros: %v", err)
	}
	genes := filepath.Join(dir, modeldir.GenesFile)
	text, err := os.ReadFile(genes)
	if err == nil {
		err = os.WriteFile(genes, []byte(strings.Replace(string(text), "GENE2\n", "GENE1\n", 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embed.Open(dir, "cpu", "auto"); !errors.Is(err, modeldir.ErrNotAModel) || !strings.Contains(err.Error(), "genes.txt") {
		t.Errorf("other genes: %v", err)
	}
	config, _, _ := modeldir.Read(converted(t, "none", false))
	delete(config.Files, modeldir.GenesFile)
	if err := modeldir.Write(dir, config); err != nil {
		t.Fatal(err)
	}
	if _, err := embed.Open(dir, "cpu", "auto"); !errors.Is(err, vocabulary.ErrVocabulary) || !strings.Contains(err.Error(), "GENE1") {
		t.Errorf("a gene twice: %v", err)
	}
}

func TestRefusedCells(t *testing.T) {
	m, data := open(t, "soft-bins", true), draw(5, 30)
	for _, c := range []struct {
		name  string
		spoil func(*embed.Cells, *embed.Output)
		want  error
		says  string
	}{
		{"tokens for other columns", func(c *embed.Cells, _ *embed.Output) { c.Tokens = c.Tokens[1:] }, embed.ErrOption, "31 columns, but gene tokens for 30"},
		{"batches of less than nothing", func(c *embed.Cells, _ *embed.Output) { c.BatchSize = -1 }, embed.ErrOption, "batch_size=-1"},
		{"batches of billions", func(c *embed.Cells, _ *embed.Output) { c.BatchSize = 1 << 30 }, embed.ErrOption, "batch_size=1073741824"},
		{"threads of less than nothing", func(c *embed.Cells, _ *embed.Output) { c.Threads = -2 }, embed.ErrOption, "threads=-2"},
		{"thousands of threads", func(c *embed.Cells, _ *embed.Output) { c.Threads = 5000 }, embed.ErrOption, "threads=5000"},
		{"memory for four", func(_ *embed.Cells, o *embed.Output) { o.Embedding = o.Embedding[10:] }, embed.ErrOption, "5 cells have 50"},
		{"memory for one dataset embedding", func(_ *embed.Cells, o *embed.Output) { o.Dataset = o.Dataset[:10] }, embed.ErrOption, "50 and 50"},
		{"few genes", func(c *embed.Cells, _ *embed.Output) {
			for i := range c.Tokens[3:] {
				c.Tokens[3+i] = vocabulary.Unknown
			}
		}, sentence.ErrTooFewGenes, "2 valid genes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cells, out := data.cells(t, 0, 5), output(m, 5)
			c.spoil(cells, &out)
			_, err := m.Embed(t.Context(), cells, out)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
	if _, err := m.Tokenize(t.Context(), data.cells(t, 0, 5), sentences(5, 19)); !errors.Is(err, embed.ErrOption) {
		t.Errorf("sentences that are too short: %v", err)
	}
	if _, err := m.Tokenize(t.Context(), data.cells(t, 0, 5), sentences(4, 20)); !errors.Is(err, embed.ErrOption) {
		t.Errorf("too few sentences: %v", err)
	}
}

func TestRefusedSentences(t *testing.T) {
	m := open(t, "soft-bins", true)
	cls := m.Vocabulary.CLS()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name  string
		spoil func(*embed.Given)
		says  string
	}{
		{"no slots", func(g *embed.Given) { g.Length = 0 }, "2 sentences of 0 slots"},
		{"fewer than none", func(g *embed.Given) { g.N = -2 }, "-2 sentences"},
		{"values missing", func(g *embed.Given) { g.ExpressionValues = g.ExpressionValues[1:] }, "5 values"},
		{"multiplicities missing", func(g *embed.Given) { g.Multiplicity = g.Multiplicity[1:] }, "5 multiplicities"},
		{"no [CLS]", func(g *embed.Given) { g.GeneIndices[3] = 2 }, "sentence 1 begins with token 2"},
		{"unknown gene", func(g *embed.Given) { g.GeneIndices[4] = cls + 1 }, "sentence 1, slot 1: gene index 41"},
		{"negative gene", func(g *embed.Given) { g.GeneIndices[2] = -1 }, "sentence 0, slot 2: gene index -1"},
		{"NaN", func(g *embed.Given) { g.ExpressionValues[5] = nan }, "sentence 1, slot 2: the expression value is NaN"},
		{"infinite", func(g *embed.Given) { g.ExpressionValues[0] = inf }, "sentence 0, slot 0: the expression value is +Inf"},
		{"less than never", func(g *embed.Given) { g.Multiplicity[1] = -1 }, "sentence 0, slot 1: the multiplicity is -1"},
		{"NaN times", func(g *embed.Given) { g.Multiplicity[1] = nan }, "multiplicity is NaN"},
		{"[CLS] never", func(g *embed.Given) { g.Multiplicity[3] = 0 }, "sentence 1, slot 0: the multiplicity is 0"},
		{"threads of less than nothing", func(g *embed.Given) { g.Threads = -1 }, "threads=-1"},
		{"batches of less than nothing", func(g *embed.Given) { g.BatchSize = -1 }, "batch_size=-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &embed.Given{
				N: 2, Length: 3, GeneIndices: []int32{cls, 1, 2, cls, 3, 4},
				ExpressionValues: []float32{1, 2, 3, 4, 5, 6}, Multiplicity: []float32{1, 1, 1, 1, 2, 0},
			}
			c.spoil(g)
			for name, err := range map[string]error{
				"embedding": m.EmbedSentences(t.Context(), g, output(m, 2)),
				"tracing":   m.Trace(t.Context(), g, output(m, 2), stagesFor(m, &embed.Given{N: 2, Length: 3})),
			} {
				if !errors.Is(err, embed.ErrOption) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: got %v; want one saying %q", name, err, c.says)
				}
			}
		})
	}
	g := &embed.Given{N: 1, Length: 2, GeneIndices: []int32{cls, 1}, ExpressionValues: []float32{1, 2}}
	stages := stagesFor(m, g)
	for name, wrong := range map[string][][]float32{
		"no stages": nil, "a stage missing": stages[1:], "a stage too many": append(stagesFor(m, g), nil),
		"a stage too short": append([][]float32{stages[0][1:]}, stages[1:]...),
	} {
		if err := m.Trace(t.Context(), g, output(m, 1), wrong); !errors.Is(err, embed.ErrOption) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := m.EmbedSentences(t.Context(), g, output(m, 2)); !errors.Is(err, embed.ErrOption) {
		t.Errorf("output for two: got %v", err)
	}
}

func TestAValueThatIsNoNumber(t *testing.T) {
	m, data := open(t, "soft-bins", true), draw(nCells, 30)
	data.data[data.indptr[50]+1] = float32(math.NaN())
	_, err := m.Embed(t.Context(), data.cells(t, 0, nCells), output(m, nCells))
	at := (*expression.NotFiniteError)(nil)
	if !errors.As(err, &at) || at.Cell != 50 || at.Gene != int(data.indices[data.indptr[50]+1]) {
		t.Errorf("got %v", err)
	}
	// The model is as good as before.
	run(t, m, data.cells(t, 0, 50))
}

// ways are the ways to run a model that report progress.
var ways = map[string]func(t *testing.T, ctx context.Context, m *embed.Model, progress func(int)) error{
	"embed": func(t *testing.T, ctx context.Context, m *embed.Model, progress func(int)) error {
		c := draw(nCells, 30).cells(t, 0, nCells)
		c.BatchSize, c.Progress = 1, progress
		_, err := m.Embed(ctx, c, output(m, nCells))
		return err
	},
	"embed sentences": func(t *testing.T, ctx context.Context, m *embed.Model, progress func(int)) error {
		g := given(t, m, draw(nCells, 30).cells(t, 0, nCells))
		g.BatchSize, g.Progress = 1, progress
		return m.EmbedSentences(ctx, g, output(m, nCells))
	},
	"trace": func(t *testing.T, ctx context.Context, m *embed.Model, progress func(int)) error {
		g := given(t, m, draw(nCells, 30).cells(t, 0, nCells))
		g.Progress = progress
		return m.Trace(ctx, g, output(m, nCells), stagesFor(m, g))
	},
}

func TestCancel(t *testing.T) {
	m := open(t, "soft-bins", true)
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for _, at := range []int{0, 1, 20} {
				ctx, cancel := context.WithCancel(t.Context())
				var mu sync.Mutex
				done := 0
				if at == 0 {
					cancel()
				}
				err := way(t, ctx, m, func(n int) {
					mu.Lock()
					defer mu.Unlock()
					if done += n; done == at {
						cancel()
					}
				})
				cancel()
				if !errors.Is(err, context.Canceled) || done > at+5 {
					t.Errorf("cancelled after %d cells: %d done, %v", at, done, err)
				}
			}
		})
	}
	t.Run("tokenize", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Tokenize(ctx, draw(nCells, 30).cells(t, 0, nCells), sentences(nCells, 20)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// A panic in a goroutine that nobody recovers would end the process.
func TestPanicsBecomeErrors(t *testing.T) {
	m := open(t, "soft-bins", true)
	for name, way := range ways {
		if name == "trace" {
			continue // it runs in the caller's goroutine
		}
		t.Run(name, func(t *testing.T) {
			err := way(t, t.Context(), m, func(int) { panic("a deliberate panic") })
			if !errors.Is(err, safego.ErrPanic) || !strings.Contains(err.Error(), "a deliberate panic") {
				t.Errorf("got %v", err)
			}
		})
	}
	cells := draw(nCells, 30).cells(t, 0, nCells)
	cells.Progress = func(int) { panic("a deliberate panic") }
	pairs := embedded(m, 3)
	pairs.Genes, pairs.Progress = []int32{1, 2}, cells.Progress
	_, tokenizing := m.Tokenize(t.Context(), cells, sentences(nCells, 20))
	_, contextual := m.Contextual(t.Context(), cells, everySlot(m, nCells, nSlots))
	for name, err := range map[string]error{
		"tokenize": tokenizing, "contextual": contextual, "decode": m.Decode(t.Context(), pairs, make([]float32, 6)),
	} {
		if !errors.Is(err, safego.ErrPanic) || !strings.Contains(err.Error(), "a deliberate panic") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	run(t, m, draw(3, 30).cells(t, 0, 3)) // the model is as good as before
}

func TestClosedModels(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			m := open(t, "none", true)
			if err := errors.Join(m.Close(), m.Close()); err != nil {
				t.Fatal(err)
			}
			if err := way(t, t.Context(), m, nil); !errors.Is(err, embed.ErrClosed) || !strings.Contains(fmt.Sprint(err), "small") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Close waits for what is under way, and lets nothing begin meanwhile.
func TestCloseWaits(t *testing.T) {
	m := open(t, "none", true)
	running, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	ended := make(chan error, 2)
	go func() {
		ended <- ways["embed"](t, t.Context(), m, func(int) {
			once.Do(func() { close(running) })
			<-release
		})
	}()
	<-running
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	for !errors.Is(m.EmbedSentences(t.Context(), &embed.Given{Length: 1}, embed.Output{}), embed.ErrClosed) {
		time.Sleep(time.Millisecond) // until Close has begun
	}
	select {
	case <-closed:
		t.Error("closed while a run was under way")
	default:
	}
	close(release)
	if err := errors.Join(<-ended, <-closed); err != nil {
		t.Error(err)
	}
}

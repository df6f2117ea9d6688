package embed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/internal/standin"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/sentence"
)

// gpuPrecisions are those that CUDA has.
func gpuPrecisions() (precisions []string) {
	for _, precision := range []string{"fp32", "bf16", "fp16", "int8"} {
		_, err := ort.ResolveDevice("cuda", precision)
		if errors.Is(err, ort.ErrPrecision) || err != nil && strings.Contains(err.Error(), "does not support precision") {
			continue
		}
		precisions = append(precisions, precision) // for want of a library, the device itself is refused here
	}
	return precisions
}

// heads128 are narrow dimensions with attention heads as wide as SE-600M's,
// which the choice of kernels depends on.
var heads128 = statetest.Dims{
	NGenes: 40, TokenDim: 32, EmSize: 256, DHid: 256, NHead: 2, NLayers: 2, OutputDim: 64, PadLength: 64,
}

// openOn opens a small random model on a device until the test ends.
func openOn(t *testing.T, dims statetest.Dims, encoding string, dataset bool, device, precision string) *embed.Model {
	t.Helper()
	m, err := embed.Open(embed.Converted(t, dims, encoding, dataset), device, precision)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// alike are sentences of some length, all the same.
func alike(m *embed.Model, n, length int, weighted bool) *embed.Given {
	g := &embed.Given{N: n, Length: length, BatchSize: n, Threads: 2}
	for i := range n * length {
		token := int32(i % int(m.Vocabulary.CLS()))
		if i%length == 0 {
			token = m.Vocabulary.CLS()
		}
		g.GeneIndices = append(g.GeneIndices, token)
		g.ExpressionValues = append(g.ExpressionValues, float32(i%7))
		if weighted {
			g.Multiplicity = append(g.Multiplicity, float32(1+i%3))
		}
	}
	return g
}

// runGraph runs a graph on n sentences of some length through what the package
// offers.
func runGraph(t *testing.T, m *embed.Model, v modeldir.Variant, n, length int) {
	t.Helper()
	d := m.Config.Dimensions
	var err error
	switch v {
	case modeldir.Dense, modeldir.Weighted:
		err = m.EmbedSentences(t.Context(), alike(m, n, length, v == modeldir.Weighted), output(m, n))
	case modeldir.Contextual:
		c := draw(n, 30).cells(t, 0, n)
		c.Fill = sentence.Shared
		_, err = m.Contextual(t.Context(), c, embed.Contextual{
			Places: embed.Places{Genes: []int32{2, 3}}, Embeddings: make([]float32, n*2*d.EmSize),
		})
	case modeldir.Attention:
		c := draw(n, 30).cells(t, 0, n)
		c.Fill = sentence.Shared
		_, err = m.Attention(t.Context(), c, embed.Attention{
			Layer: 1, Places: embed.Places{Genes: []int32{2, 3}}, Weights: make([]float32, n*2),
		})
	case modeldir.Decoder:
		genes := []int32{0, 1, 2}
		err = m.Decode(t.Context(), &embed.Decode{
			NCells: n, Embedding: make([]float32, n*d.OutputDim), ReadDepth: make([]float32, n),
			Dataset: make([]float32, n*d.DatasetDim), Genes: genes, Threads: 2,
		}, make([]float32, n*len(genes)))
	case modeldir.Trace:
		g := alike(m, n, length, false)
		var stages [][]float32
		for _, stage := range m.Config.Stages() {
			size := 1
			for _, d := range stage.ShapeOf(modeldir.SentenceSizes(n, length)) {
				size *= d
			}
			stages = append(stages, make([]float32, size))
		}
		err = m.Trace(t.Context(), g, output(m, n), stages)
	}
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
}

var graphs = []modeldir.Variant{modeldir.Dense, modeldir.Weighted, modeldir.Contextual, modeldir.Trace, modeldir.Attention, modeldir.Decoder}

// Every node of every graph runs on the GPU but for those that make a shape,
// and nothing is copied between host and device on the way.
func TestGPUPlacement(t *testing.T) {
	standin.Need(t)
	for _, precision := range gpuPrecisions() {
		for _, encoding := range []string{"soft-bins", "scale", "none"} {
			for _, dataset := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, dataset token %v", precision, encoding, dataset), func(t *testing.T) {
					outcome := standin.Run(t, standin.GPU{}, func(t *testing.T) {
						m := openOn(t, statetest.Small, encoding, dataset, "cuda", precision)
						for _, v := range graphs {
							runGraph(t, m, v, 4, 20)
						}
					})
					for _, v := range graphs {
						checkPlacement(t, outcome, v)
					}
				})
			}
		}
	}
}

func checkPlacement(t *testing.T, outcome standin.Outcome, v modeldir.Variant) {
	t.Helper()
	ran := false
	for _, s := range outcome.Sessions {
		if s.Graph != string(v) {
			continue
		}
		ran = true
		var shapes []string
		for _, n := range s.NotOn(standin.CUDA) {
			if n.IsShape() {
				shapes = append(shapes, n.Op)
			} else {
				t.Errorf("%s: %s", v, n)
			}
		}
		t.Logf("%s: %d nodes, on the host %v", v, len(s.Nodes), shapes)
	}
	if !ran {
		t.Errorf("%s did not run", v)
	}
}

// Every output is copied to the host once a run, and nothing else is, for which
// the device would be waited for. What is copied to the device are the inputs,
// and some bytes that kernels take (sizes of what Concat joins).
func TestGPUCopies(t *testing.T) {
	standin.Need(t)
	const n, length = 4, 20
	for _, precision := range gpuPrecisions() {
		t.Run(precision, func(t *testing.T) {
			standin.Run(t, standin.GPU{}, func(t *testing.T) {
				m := openOn(t, statetest.Small, "soft-bins", true, "cuda", precision)
				for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted} {
					runGraph(t, m, v, n, length) // the first run also copies the weights
					before := standin.Now(t)[0]
					runGraph(t, m, v, n, length)
					after := standin.Now(t)[0]
					d, inputs, outputs := m.Config.Dimensions, len(m.Config.Inputs(v)), len(m.Config.Outputs(v))
					if out, bytes := after.ToHost-before.ToHost, after.ToHostBytes-before.ToHostBytes; int(out) != outputs ||
						int(bytes) != 4*n*(d.OutputDim+d.DatasetDim) {
						t.Errorf("%s: %d copies to the host, %d bytes", v, out, bytes)
					}
					slots := length
					if v == modeldir.Weighted {
						slots = 31 // the next number that the dataset token makes a multiple of 16
					}
					more := int(after.ToDeviceBytes-before.ToDeviceBytes) - 4*n*slots*inputs
					if in := int(after.ToDevice - before.ToDevice); in < inputs || more < 0 || more > 1024 {
						t.Errorf("%s: %d copies to the device, %d bytes more than the inputs", v, in, more)
					} else {
						t.Logf("%s: %d copies to the device, %d bytes more than the inputs", v, in, more)
					}
				}
			})
		})
	}
}

// Attention with heads as wide as SE-600M's never makes the whole matrix of
// scores, which would take hundreds of megabytes a cell: where there are
// multiplicities, sentences are padded to what the other kernels take.
func TestGPUAttention(t *testing.T) {
	standin.Need(t)
	for _, precision := range gpuPrecisions() {
		for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted} {
			for _, length := range []int{512, 1000, 2047, 2048} {
				t.Run(fmt.Sprintf("%s, %s, %d slots", precision, v, length), func(t *testing.T) {
					outcome := standin.Run(t, standin.GPU{}, func(t *testing.T) {
						runGraph(t, openOn(t, heads128, "soft-bins", true, "cuda", precision), v, 2, length)
					})
					if len(outcome.Attention) == 0 {
						t.Error("no attention")
					}
					for _, a := range outcome.Attention {
						if a.Kernel == "MATH" {
							t.Errorf("%+v", a)
						}
					}
				})
			}
		}
	}
}

// The memory of a cell more in a batch, as multiples of what its tokens take in
// fp32 (at SE-600M's width and 2,049 tokens 16.8 MB).
func TestGPUMemoryPerCell(t *testing.T) {
	standin.Need(t)
	most := map[string]float64{"fp32": 11.5, "fp16": 8, "bf16": 8}
	const length = 511 // with the dataset token, attention does not make the whole matrix of scores in fp32
	for _, precision := range gpuPrecisions() {
		for _, v := range []modeldir.Variant{modeldir.Dense, modeldir.Weighted} {
			t.Run(fmt.Sprintf("%s, %s", precision, v), func(t *testing.T) {
				var peaks []float64
				cells := []int{4, 12}
				for _, n := range cells {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						outcome := standin.Run(t, standin.GPU{}, func(t *testing.T) {
							runGraph(t, openOn(t, heads128, "soft-bins", true, "cuda", precision), v, n, length)
						})
						s := outcome.Sessions[len(outcome.Sessions)-1]
						if s.Graph != string(v) {
							t.Fatalf("the last graph was %s", s.Graph)
						}
						var peak uint64
						for _, node := range s.Nodes {
							peak = max(peak, node.Peak)
						}
						peaks = append(peaks, float64(peak))
					})
				}
				if len(peaks) < 2 {
					return // within a process of a subtest's own, or after it has failed
				}
				perCell := (peaks[1] - peaks[0]) / float64(cells[1]-cells[0]) / float64((length+1)*heads128.EmSize*4)
				t.Logf("%.1f times its tokens", perCell)
				if perCell > most[precision] {
					t.Errorf("%.1f times its tokens, want %v at most", perCell, most[precision])
				}
			})
		}
	}
}

// Ctrl-C ends work within a batch, between two nodes.
func TestGPUCancel(t *testing.T) {
	const pause = 30 * time.Millisecond
	standin.Run(t, standin.GPU{Pause: pause}, func(t *testing.T) {
		m := openOn(t, statetest.Small, "soft-bins", true, "cuda", "fp32")
		runGraph(t, m, modeldir.Dense, 1, 20)
		ran := func() uint64 { now := standin.Now(t)[0]; return now.Launches + now.Products }
		before := ran()
		runGraph(t, m, modeldir.Dense, 1, 20)
		whole := ran() - before
		before = ran()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // once it has begun, however long that takes
			for ran() == before && ctx.Err() == nil {
				time.Sleep(pause / 10)
			}
			cancel()
		}()
		err := m.EmbedSentences(ctx, alike(m, 1, 20, false), output(m, 1))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := ran() - before; n == 0 || n >= whole {
			t.Errorf("%d of %d kernels ran", n, whole)
		}
		runGraph(t, m, modeldir.Dense, 1, 20)
	})
}

// A batch that the device has no memory for runs in halves, with a word, and
// later ones are made smaller from the start; one sentence that does not fit is
// an error.
func TestGPUMemory(t *testing.T) {
	standin.Need(t)
	const n, length = 64, 512
	t.Run("batches", func(t *testing.T) {
		standin.Run(t, standin.GPU{Memory: 96 << 20}, func(t *testing.T) {
			m := openOn(t, heads128, "soft-bins", true, "cuda", "fp16")
			notice.Take()
			g := alike(m, n, length, true)
			if err := m.EmbedSentences(t.Context(), g, output(m, n)); err != nil {
				t.Fatal(err)
			}
			said := strings.Join(notice.Take(), "\n")
			if !strings.Contains(said, "cuda:0 has not enough memory for batches of 64 cells: going on with 32") {
				t.Errorf("said: %q", said)
			}
			if err := m.EmbedSentences(t.Context(), g, output(m, n)); err != nil {
				t.Fatal(err)
			}
			if again := notice.Take(); len(again) > 0 {
				t.Errorf("said again: %q", again)
			}
		})
	})
	t.Run("one sentence", func(t *testing.T) {
		standin.Run(t, standin.GPU{Memory: 6 << 20}, func(t *testing.T) {
			m := openOn(t, heads128, "soft-bins", true, "cuda", "fp16")
			err := m.EmbedSentences(t.Context(), alike(m, 1, 2048, true), output(m, 1))
			if !errors.Is(err, ort.ErrMemory) || !strings.Contains(err.Error(), "cuda:0") {
				t.Errorf("got %v", err)
			}
		})
	})
}

// worked is a progress that holds batches back until some devices have launched
// kernels: one that is opened later than the others would else find the queue
// empty.
func worked(t *testing.T, launches ...uint64) func(int) {
	deadline := time.Now().Add(time.Minute)
	return func(int) {
		for time.Now().Before(deadline) {
			waits := false
			for i, d := range standin.Now(t)[:len(launches)] {
				waits = waits || d.Launches < launches[i]
			}
			if !waits {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// Four devices are all fed, from one queue.
func TestFourGPUs(t *testing.T) {
	outcome := standin.Run(t, standin.GPU{Count: 4}, func(t *testing.T) {
		m := openOn(t, heads128, "soft-bins", true, "cuda:0,cuda:1,cuda:2,cuda:3", "fp16")
		if m.Device() != "cuda:0,cuda:1,cuda:2,cuda:3" {
			t.Errorf("on %s", m.Device())
		}
		const n = 64
		g := alike(m, n, 64, false)
		g.BatchSize = 2
		wait := worked(t, 1, 1, 1, 1)
		var done atomic.Int64
		g.Progress = func(cells int) {
			done.Add(int64(cells))
			wait(cells)
		}
		if err := m.EmbedSentences(t.Context(), g, output(m, n)); err != nil || done.Load() != n {
			t.Errorf("%d cells, %v", done.Load(), err)
		}
	})
	for i, d := range outcome.Devices[:4] {
		if d.Launches == 0 {
			t.Errorf("device %d was not used", i)
		}
	}
}

// Of several devices, the one that fails is named.
func TestDeadGPU(t *testing.T) {
	const launches = 20
	standin.Run(t, standin.GPU{Count: 2, Dead: fmt.Sprintf("1:%d", launches)}, func(t *testing.T) {
		m := openOn(t, heads128, "soft-bins", true, "cuda:0,cuda:1", "fp16")
		g := alike(m, 64, 64, false)
		g.BatchSize, g.Progress = 2, worked(t, 0, 1)
		err := m.EmbedSentences(t.Context(), g, output(m, 64))
		if err == nil || !strings.Contains(err.Error(), "on cuda:1") {
			t.Errorf("got %v", err)
		}
	})
}

// "auto" is the first GPU that can be used, in fp16, and says so.
func TestAutoIsTheGPU(t *testing.T) {
	t.Run("usable", func(t *testing.T) {
		standin.Run(t, standin.GPU{Count: 2}, func(t *testing.T) {
			notice.Take()
			m := openOn(t, statetest.Small, "soft-bins", true, "auto", "auto")
			if said := strings.Join(notice.Take(), ""); m.Device() != "cuda:0" || m.Precision() != ort.FP16 ||
				!strings.Contains(said, `device="auto" is cuda:0`) {
				t.Errorf("%s, %s: %q", m.Device(), m.Precision(), said)
			}
		})
	})
	t.Run("too old a driver", func(t *testing.T) {
		standin.Run(t, standin.GPU{Driver: 12080}, func(t *testing.T) {
			notice.Take()
			m := openOn(t, statetest.Small, "soft-bins", true, "auto", "auto")
			if said := strings.Join(notice.Take(), ""); m.Device() != "cpu" || !strings.Contains(said, "12.8") {
				t.Errorf("%s: %q", m.Device(), said)
			}
		})
	})
}

// How many cells there are matters neither to the shape of a batch nor to what
// a device takes for one.
func TestGPUBatchesAreAlike(t *testing.T) {
	standin.Run(t, standin.GPU{}, func(t *testing.T) {
		m := openOn(t, statetest.Small, "soft-bins", true, "cuda", "fp16")
		copied := func(n int) uint64 {
			g := alike(m, n, 40, false)
			g.BatchSize = 8
			before := standin.Now(t)[0]
			if err := m.EmbedSentences(t.Context(), g, output(m, n)); err != nil {
				t.Fatal(err)
			}
			return standin.Now(t)[0].ToHostBytes - before.ToHostBytes
		}
		copied(8) // the first run also copies the weights
		one, eight, nine := copied(1), copied(8), copied(9)
		if one != eight || nine != 2*eight {
			t.Errorf("%d bytes for 1 cell, %d for 8, %d for 9", one, eight, nine)
		}
	})
}

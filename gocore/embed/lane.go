package embed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
)

// execution says how a model's work is spread over the processor and the
// device.
type execution struct {
	lanes   []*lane
	workers int // tokenising
	traits  ort.Traits
}

// nThreads is a number of threads, where 0 stands for all cores.
func nThreads(threads int) (int, error) {
	if threads < 0 || threads > 1024 {
		return 0, fmt.Errorf("embed: threads=%d: %w", threads, ErrOption)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return threads, nil
}

// workers is how many of some threads tokenise.
func workers(threads int) int { return min(threads, 8) }

// spread divides threads (0: all cores) among lanes, for products of some
// width.
func (m *Model) spread(threads, width int) (execution, error) {
	threads, err := nThreads(threads)
	if err != nil {
		return execution{}, err
	}
	e := execution{workers: workers(threads)}
	for n, d := range m.devices {
		traits := d.provider.Traits(m.Config.Dimensions, width, threads)
		if most := int(d.most.Load()); most > 0 {
			traits.MaxTokens = min(traits.MaxTokens, most)
		}
		for i := range traits.RunsAtOnce {
			e.lanes = append(e.lanes, newLane(m, d, traits, i))
		}
		if n > 0 { // batches are the same wherever they run, so the smallest device decides
			traits.MaxTokens = min(traits.MaxTokens, e.traits.MaxTokens)
		}
		e.traits = traits
	}
	return e, nil
}

// newLane makes the i-th lane of a device.
func newLane(m *Model, d *device, traits ort.Traits, i int) *lane {
	l := &lane{model: m, device: d, form: traits.Form, threads: traits.ThreadsPerRun, memory: map[string][]float32{}}
	if traits.OwnThread {
		l.thread = d.thread(i)
	}
	return l
}

// tokenBudget is how many tokens a batch of sentences of some length has at
// most.
func (e execution) tokenBudget(d modeldir.Dimensions, length int) int {
	return max(1, int(min(float64(e.traits.MaxTokens), e.traits.NodeFLOP/d.NodeFLOP(e.traits.Form, length))))
}

// lane runs batches one after the other on a device, in memory of its own.
type lane struct {
	model   *Model
	device  *device
	form    modeldir.Form
	threads int     // that one run takes
	thread  *thread // that runs start on; nil: any
	bounds  bounds  // of batches of cells, where the provider prepares for them
	memory  map[string][]float32
}

// bounds are those of batches: slots, and sentences.
type bounds struct{ least, most, cells int }

// shapes are the bounds of a graph's inputs; nil without bounds, and for graphs
// that take no batches of cells.
func (b bounds) shapes(inputs []modeldir.Tensor) map[string]ort.Shapes {
	if b.cells == 0 {
		return nil
	}
	shapes := map[string]ort.Shapes{}
	for _, t := range inputs {
		shapes[t.Name] = ort.Shapes{
			Least: t.ShapeOf(modeldir.SentenceSizes(1, b.least)), Most: t.ShapeOf(modeldir.SentenceSizes(b.cells, b.most)),
		}
	}
	return shapes
}

// do runs f where the lane's runs start.
func (l *lane) do(f func() error) error {
	if l.thread == nil {
		return f()
	}
	return l.thread.do(f)
}

// fitting runs a batch, in halves if the device has not enough memory for it.
func (l *lane) fitting(b *batch.Batch, run func(*batch.Batch) error) error {
	tokens := b.Size() * b.Length
	if most := int(l.device.most.Load()); most == 0 || tokens <= most || b.Size() == 1 {
		err := run(b)
		if !errors.Is(err, ort.ErrMemory) {
			return err
		}
		if b.Size() == 1 {
			return fmt.Errorf("%s has not enough memory for a batch of one cell: end other programs that use it, "+
				"use precision=\"fp16\" or device=\"cpu\": %w", l.device.provider.Name(), err)
		}
		l.device.lower(tokens)
		notice.Sayf("%s has not enough memory for batches of %d cells: going on with %d", l.device.provider.Name(), b.Size(), (b.Size()+1)/2)
	}
	for _, half := range b.Halves() {
		if len(half.Rows) == 0 {
			continue
		}
		if err := l.fitting(half, run); err != nil {
			return err
		}
	}
	return nil
}

// floats is memory for a tensor, which the next batch uses again.
func (l *lane) floats(name string, n int) []float32 {
	if cap(l.memory[name]) < n {
		l.memory[name] = make([]float32, n)
	}
	return l.memory[name][:n]
}

// inputs are a batch of sentences as a graph takes them.
func (l *lane) inputs(v modeldir.Variant, b *batch.Batch) []ort.Tensor {
	shape := []int{b.Size(), b.Length}
	inputs := []ort.Tensor{{Shape: shape, Int32: b.GeneIndices}, {Shape: shape, Float32: b.ExpressionValues}}
	if v == modeldir.Dense {
		return inputs
	}
	logMultiplicity := l.floats(modeldir.LogMultiplicity, len(b.GeneIndices))
	if b.Multiplicity == nil {
		clear(logMultiplicity)
	} else {
		logs(logMultiplicity, b.Multiplicity)
	}
	return append(inputs, ort.Tensor{Shape: shape, Float32: logMultiplicity})
}

// run executes a graph, and gives its outputs by name. They are in the lane's
// memory, but for those that have memory elsewhere.
func (l *lane) run(
	ctx context.Context, v modeldir.Variant, sizes modeldir.Sizes, inputs []ort.Tensor, elsewhere map[string][]float32,
) (map[string][]float32, error) {
	session, err := l.model.session(ctx, l, v)
	if err != nil {
		return nil, err
	}
	results := map[string][]float32{}
	var outputs []ort.Tensor
	for _, t := range l.model.Config.Outputs(v) {
		shape, values := t.ShapeOf(sizes), elsewhere[t.Name]
		if values == nil {
			values = l.floats(t.Name, size(shape))
		}
		results[t.Name] = values
		outputs = append(outputs, ort.Tensor{Shape: shape, Float32: values})
	}
	return results, l.do(func() error { return session.Run(ctx, inputs, outputs) })
}

// size is how many values a tensor of a shape has.
func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// logs takes the logarithms of multiplicities, which are added to attention
// scores. Zero (padding) becomes -1e4, which every kernel takes and exp makes
// zero of. It is done here because ONNX Runtime's Log rounds an element
// differently at the end of an array, so that a cell's batch would matter.
func logs(into, multiplicity []float32) {
	for i, m := range multiplicity {
		switch m {
		case 0:
			into[i] = -1e4
		case 1:
			into[i] = 0
		default:
			into[i] = float32(math.Log(float64(m)))
		}
	}
}

// execute has every lane take from one queue what produce sends. The queue is
// bounded, so that produce is never far ahead.
func execute[T any](
	ctx context.Context, lanes []*lane,
	produce func(ctx context.Context, send func(T) error) error,
	run func(ctx context.Context, l *lane, work T) error,
) error {
	queue := make(chan T, len(lanes))
	group, ctx := safego.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		return produce(ctx, func(work T) error {
			select {
			case queue <- work:
				return nil
			case <-ctx.Done():
				return fmt.Errorf("embed: %w", ctx.Err())
			}
		})
	})
	for _, l := range lanes {
		group.Go(func() error {
			for work := range queue {
				if err := run(ctx, l, work); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

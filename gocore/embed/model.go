package embed

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// ErrOption: an option has a value that can't be.
var ErrOption = errors.New("invalid option")

// ErrLacks: the model has no such part.
var ErrLacks = errors.New("the model lacks it")

// ErrClosed: the model was closed.
var ErrClosed = errors.New("model is closed")

// Model is a converted model, ready to run. Any goroutine may use it.
type Model struct {
	Dir        string
	Config     *modeldir.Config
	Vocabulary *vocabulary.Vocabulary

	provider ort.Provider
	sessions sessions
}

// Open opens a converted model directory on a device, in a precision (see
// [ort.ResolveDevice]). Graphs are opened when they are first needed. ONNX
// Runtime must be open (package ort).
func Open(dir, device, precision string) (*Model, error) {
	config, genes, err := modeldir.Read(dir)
	if err != nil {
		return nil, err
	}
	v, err := vocabulary.New(genes)
	if err != nil {
		return nil, fmt.Errorf("model directory %q: %w", dir, err)
	}
	provider, err := ort.ResolveDevice(device, precision)
	if err != nil {
		return nil, err
	}
	m := &Model{Dir: dir, Config: config, Vocabulary: v, provider: provider}
	m.sessions.open = map[sessionKey]*openSession{}
	m.sessions.idle.L = &m.sessions.mu
	return m, nil
}

// Device is where the model runs.
func (m *Model) Device() string { return m.provider.Name() }

// Precision is what the model's products are computed in.
func (m *Model) Precision() ort.Precision { return m.provider.Precision() }

// signature names a graph's inputs and outputs, in order.
func (m *Model) signature(variant modeldir.Variant) (inputs, outputs []string) {
	if variant == modeldir.Decoder {
		return []string{"genes", "cells"}, []string{"expression"}
	}
	inputs = []string{"gene_indices", "expression_values"}
	if variant != modeldir.Dense {
		inputs = append(inputs, "log_multiplicity")
	}
	if variant == modeldir.Contextual {
		return inputs, []string{"contextual"}
	}
	outputs = []string{"cls"}
	if m.Config.Dimensions.DatasetDim > 0 {
		outputs = append(outputs, "dataset_embedding")
	}
	if variant == modeldir.Trace {
		for _, stage := range m.Stages() {
			outputs = append(outputs, stage.Name)
		}
	}
	return inputs, outputs
}

// execution says how a model's batches are spread over the processor.
type execution struct {
	runners       int // runs at a time
	threadsPerRun int
	workers       int // tokenising
	tokenBudget   int // tokens a batch
}

const (
	// Below this width one run can't keep several cores busy: better several
	// runs of one thread each.
	wideEmSize = 512
	// A run can be cancelled only between two nodes, so no node may take long:
	// a batch is as large as its largest node stays below this many operations
	// (half a second at 40 GFLOP/s).
	maxNodeFLOP = 2e10
	// OpenVINO's nodes are several layers (see
	// [modeldir.Dimensions.LayersPerPart]): half a second at the 100 GFLOP/s that
	// narrow models reach.
	maxPartFLOP = 5e10
	// What narrow models keep of more tokens than this no longer fits the
	// processor's caches: several times as many take up to half as long again.
	maxTokens = 1 << 13
)

// spread divides threads (0: all cores) among runs of a model of some width.
func (m *Model) spread(threads, width int) (execution, error) {
	if threads < 0 || threads > 1024 {
		return execution{}, fmt.Errorf("embed: threads=%d: %w", threads, ErrOption)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	e := execution{runners: 1, threadsPerRun: threads, workers: min(threads, 8)}
	if width < wideEmSize && !ort.IsOpenVINO(m.provider) {
		e.runners, e.threadsPerRun = threads, 1
	}
	return e, nil
}

// plan spreads a model's work over a number of threads (0: all cores).
func (m *Model) plan(threads, length int) (execution, error) {
	d := m.Config.Dimensions
	e, err := m.spread(threads, d.EmSize)
	if err != nil {
		return execution{}, err
	}
	budget := maxNodeFLOP / (float64(2*d.EmSize*max(d.EmSize, d.DHid)) + float64(4*length*d.EmSize))
	if ort.IsOpenVINO(m.provider) {
		budget = maxPartFLOP / (float64(min(d.NLayers, d.LayersPerPart())) * d.LayerFLOP(length))
	}
	e.tokenBudget = max(1, int(min(maxTokens, budget)))
	return e, nil
}

package ort

import (
	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
	syscpu "golang.org/x/sys/cpu"
)

// cpu is ONNX Runtime's own provider, which every session has.
type cpu struct{ precision Precision }

func (cpu) Name() string           { return "cpu" }
func (c cpu) Precision() Precision { return c.precision }
func (cpu) check() error           { return nil }

func (c cpu) Traits(_ modeldir.Dimensions, width, threads int) Traits {
	t := Traits{
		Form: modeldir.Form{Layers: modeldir.Float32}, RunsAtOnce: 1, ThreadsPerRun: threads,
		// Half a second at 40 GFLOP/s.
		NodeFLOP: 2e10, MaxTokens: cachedTokens,
	}
	if c.precision == INT8 {
		t.Form.Layers = modeldir.Int8
	}
	if width < wide {
		t.RunsAtOnce, t.ThreadsPerRun = threads, 1
	} else {
		t.Form.WholeRead = true // whatever the threads, so that they don't change a number
	}
	return t
}

// wide is the least width at which one run keeps several cores busy.
const wide = 512

// cachedTokens are as many as narrow models should have in a batch: what they
// keep of more no longer fits the processor's caches, and several times as many
// take up to half as long again.
const cachedTokens = 1 << 13

func (cpu) configure(options *onnxruntime.SessionOptions, _ SessionOptions) error {
	if err := options.AddSessionConfigEntry("session.x64quantprecision", exactInt8()); err != nil {
		return err
	}
	return keepLayerNorm(options)
}

// keepLayerNorm leaves LayerNormalization and the sum before it apart: on the
// processor the operator that fuses them takes three times as long.
func keepLayerNorm(options *onnxruntime.SessionOptions) error {
	return options.AddSessionConfigEntry("optimization.disable_specified_optimizers", "SkipLayerNormFusion")
}

// exactInt8 tells whether sums of 8-bit products need slower kernels to be
// exact: without VNNI instructions those of the usual ones saturate. ONNX
// Runtime would take the slower ones even where VNNI is there.
func exactInt8() string {
	if syscpu.X86.HasAVX512VNNI || syscpu.X86.HasAVXVNNI {
		return "0"
	}
	return "1"
}

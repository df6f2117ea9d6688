package ort

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// cuda runs on one NVIDIA GPU.
type cuda struct{ gpu }

func (c cuda) Name() string { return fmt.Sprintf("cuda:%d", c.id) }

// Traits are graphs of ONNX Runtime's fused operators, without Unique, which CUDA
// lacks.
func (c cuda) Traits(d modeldir.Dimensions, width, _ int) Traits {
	return c.traits(d, width, modeldir.Form{Layers: elements[c.precision], PlainBins: true, Folded: true, FusedNorm: true})
}

func (c cuda) check() error {
	if err := needProviderLibrary("libonnxruntime_providers_cuda.so", "cuda"); err != nil {
		return err
	}
	return c.gpu.check()
}

func (c cuda) configure(options *onnxruntime.SessionOptions, _ SessionOptions) error {
	return c.appendCUDA(options)
}

// appendCUDA adds the CUDA provider. What it lacks is told by Update, not by
// what adds it; an error that is passed over would have the model run on the CPU.
func (g gpu) appendCUDA(options *onnxruntime.SessionOptions) error {
	// Weights need no room to grow.
	if err := options.AddSessionConfigEntry("session.use_device_allocator_for_initializers", "1"); err != nil {
		return err
	}
	// What is planned for a batch's shape would be kept beside what the arena has.
	if err := options.SetMemPattern(false); err != nil {
		return err
	}
	p, err := onnxruntime.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer p.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	if err := p.Update(g.options()); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(p)
}

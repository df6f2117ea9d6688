package ort

import (
	"fmt"
	"strconv"

	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// cuda runs on one NVIDIA GPU.
type cuda struct{ id int }

func (c cuda) Name() string { return fmt.Sprintf("cuda:%d", c.id) }

func (cuda) Precision() Precision { return FP32 }

// onGPU are the traits of a graphics processor: one run at a time, of 32 whole
// transcriptomes at most, that a thread of the host waits for. They are not
// measured.
func onGPU(form modeldir.Form) Traits {
	return Traits{Form: form, RunsAtOnce: 1, ThreadsPerRun: 1, NodeFLOP: 2e13, MaxTokens: 1 << 16}
}

// Traits are graphs without Unique, which CUDA lacks.
func (cuda) Traits(modeldir.Dimensions, int, int) Traits {
	return onGPU(modeldir.Form{Layers: modeldir.Float32, PlainBins: true})
}

func (cuda) check() error {
	if err := needProviderLibrary("libonnxruntime_providers_cuda.so", "cuda"); err != nil {
		return err
	}
	return needDriver()
}

func (c cuda) configure(options *onnxruntime.SessionOptions, _ int) error {
	p, err := onnxruntime.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer p.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	if err := p.Update(map[string]string{"device_id": strconv.Itoa(c.id)}); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(p)
}

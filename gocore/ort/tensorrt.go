package ort

import (
	"fmt"
	"strconv"

	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// tensorRT runs on one NVIDIA GPU through TensorRT.
type tensorRT struct{ id int }

func (t tensorRT) Name() string { return fmt.Sprintf("tensorrt:%d", t.id) }

func (tensorRT) Precision() Precision { return FP32 }

// Traits are graphs of standard operators, which TensorRT takes alone.
func (tensorRT) Traits(modeldir.Dimensions, int, int) Traits {
	return onGPU(modeldir.Form{Layers: modeldir.Float32, StandardOperators: true, PlainBins: true})
}

func (tensorRT) check() error {
	if err := needProviderLibrary("libonnxruntime_providers_tensorrt.so", "cuda"); err != nil {
		return err
	}
	return needDriver()
}

func (t tensorRT) configure(options *onnxruntime.SessionOptions, _ int) error {
	p, err := onnxruntime.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer p.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	if err := p.Update(map[string]string{"device_id": strconv.Itoa(t.id)}); err != nil {
		return err
	}
	return options.AppendExecutionProviderTensorRT(p)
}

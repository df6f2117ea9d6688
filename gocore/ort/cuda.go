package ort

import (
	"fmt"
	"strconv"

	onnxruntime "github.com/yalue/onnxruntime_go"
)

// cuda runs on one NVIDIA GPU.
type cuda struct{ id int }

func (c cuda) Name() string { return fmt.Sprintf("cuda:%d", c.id) }

func (cuda) Precision() Precision { return FP32 }

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

package ort_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/ort"
)

func TestResolveDevice(t *testing.T) {
	for _, device := range []string{"auto", "cpu"} {
		t.Run(device, func(t *testing.T) {
			p, err := ort.ResolveDevice(device, "auto")
			if err != nil || p.Name() != "cpu" {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
	t.Run("a precision that the device lacks", func(t *testing.T) {
		for device, precision := range map[string]string{"cuda": "int8", "tensorrt": "int8", "openvino": "int8", "cpu": "fp16"} {
			_, err := ort.ResolveDevice(device, precision)
			if !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), precision) {
				t.Errorf("%s, %s: got %v", device, precision, err)
			}
		}
	})
	for _, device := range []string{"", "gpu", "CPU", "cpu:0", "auto:1", "cuda:", "cuda:one", "cuda:-1", "cuda:0:1", "tensorrt:x", "openvino:0"} {
		t.Run("refused "+device, func(t *testing.T) {
			_, err := ort.ResolveDevice(device, "auto")
			if !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), `"`+device+`"`) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Where the CPU build of ONNX Runtime is loaded, a GPU is refused by name, with
// what is missing.
func TestDevicesThatAreMissing(t *testing.T) {
	statetest.NeedRuntime(t)
	for device, file := range map[string]string{
		"cuda": "libonnxruntime_providers_cuda.so", "cuda:3": "libonnxruntime_providers_cuda.so",
		"openvino": "libonnxruntime_providers_openvino.so",
		"tensorrt": "libonnxruntime_providers_tensorrt.so", "tensorrt:1": "libonnxruntime_providers_tensorrt.so",
	} {
		t.Run(device, func(t *testing.T) {
			p, err := ort.ResolveDevice(device, "auto")
			if err == nil {
				if p.Name() == "cpu" {
					t.Errorf("%s became the CPU", device)
				}
				return // a machine that has one
			}
			if !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), device) ||
				!strings.Contains(err.Error(), file) && !strings.Contains(err.Error(), "no NVIDIA driver") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestResolvePrecision(t *testing.T) {
	for precision, want := range map[string]ort.Precision{"auto": ort.FP32, "fp32": ort.FP32, "int8": ort.INT8} {
		t.Run(precision, func(t *testing.T) {
			p, err := ort.ResolveDevice("auto", precision)
			if err != nil || p.Name() != "cpu" || p.Precision() != want {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
	for _, precision := range []string{"", "INT8", "int4"} {
		t.Run("refused "+precision, func(t *testing.T) {
			_, err := ort.ResolveDevice("cpu", precision)
			if !errors.Is(err, ort.ErrPrecision) || !strings.Contains(err.Error(), `"`+precision+`"`) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := ort.ResolveDevice("cuda", "int8"); !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), `precision="int8"`) {
		t.Errorf("got %v", err)
	}
}

// Several devices must be of one kind, each once: which of them embeds a cell is
// chance.
func TestSeveralDevices(t *testing.T) {
	for _, devices := range []string{"cpu,cpu", "cpu,openvino", "cpu,cuda:0"} {
		_, err := ort.ResolveDevices(devices, "auto")
		if !errors.Is(err, ort.ErrDevice) {
			t.Errorf("%s: %v", devices, err)
		}
	}
	if all, err := ort.ResolveDevices("cpu", "int8"); err != nil || len(all) != 1 {
		t.Errorf("one: %v, %v", all, err)
	}
	statetest.NeedRuntime(t)
	if _, err := ort.ResolveDevice("auto", "fp16"); err == nil || !strings.Contains(err.Error(), `precision="fp16" needs a GPU`) {
		t.Errorf("fp16 without a GPU: %v", err)
	}
}

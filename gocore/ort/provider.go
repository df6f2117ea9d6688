package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// ErrDevice: a device is unknown, or this machine does not have it.
var ErrDevice = errors.New("device not available")

// Traits are what a provider can do with a model, and how it does that best.
type Traits struct {
	// Form of the graphs that it runs.
	Form modeldir.Form
	// RunsAtOnce is how many runs should be under way, with ThreadsPerRun each.
	RunsAtOnce, ThreadsPerRun int
	// NodeFLOP bounds the operations in the largest node of a batch: a run can end
	// early only between two nodes, so no node may take long.
	NodeFLOP float64
	// MaxTokens is how many tokens a batch has at most.
	MaxTokens int
}

// Provider is an execution provider on one device.
type Provider interface {
	// Name is the device as a user names it, such as "cpu" or "cuda:0".
	Name() string
	// Precision is what it computes products in.
	Precision() Precision
	// Traits are those for a model, in work whose products are of some width and
	// which may use some threads.
	Traits(d modeldir.Dimensions, width, threads int) Traits
	// check says, as an error that wraps [ErrDevice], what the machine lacks.
	check() error
	// configure adds the provider to the options of a session whose runs take
	// some threads each.
	configure(options *onnxruntime.SessionOptions, threads int) error
}

// ResolveDevice gives the provider for a device, "auto", "cpu", "openvino",
// "cuda", "cuda:N", "tensorrt" or "tensorrt:N", and a precision, "auto", "fp32",
// "bf16" or "int8". "auto" is exact: fp32. The CPU has int8, and bf16 through
// OpenVINO. What a device asked for by name lacks is an error; only "auto"
// chooses. Errors wrap [ErrDevice] or [ErrPrecision].
func ResolveDevice(device, precision string) (Provider, error) {
	wanted, err := parsePrecision(precision)
	if err != nil {
		return nil, err
	}
	kind, ordinal, numbered := strings.Cut(device, ":")
	id := 0
	if numbered {
		if id, err = strconv.Atoi(ordinal); err != nil || id < 0 {
			return nil, fmt.Errorf("device=%q: %q is not a device number: %w", device, ordinal, ErrDevice)
		}
	}
	var p Provider
	switch {
	case (kind == "auto" || kind == "cpu") && !numbered && wanted != BF16:
		p = cpu{wanted}
	case (kind == "auto" || kind == "cpu" || kind == "openvino") && !numbered:
		p = openVINO{wanted}
	case kind == "cuda":
		p = cuda{id}
	case kind == "tensorrt":
		p = tensorRT{id}
	default:
		return nil, fmt.Errorf("device=%q is not one of \"auto\", \"cpu\", \"openvino\", \"cuda\", \"cuda:N\", \"tensorrt\", \"tensorrt:N\": %w",
			device, ErrDevice)
	}
	if p.Precision() != wanted {
		return nil, fmt.Errorf("device=%q does not support precision=%q: leave one of them out: %w", device, precision, ErrDevice)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("device=%q: %w", device, err)
	}
	return p, nil
}

// needProviderLibrary checks for a provider's own library beside ONNX
// Runtime's. The runtime is the one that has it, as a user names it.
func needProviderLibrary(file, runtime string) error {
	if Library() == "" {
		return fmt.Errorf("no ONNX Runtime library is loaded: %w", ErrDevice)
	}
	beside := filepath.Join(filepath.Dir(Library()), file)
	if _, err := os.Stat(beside); err != nil {
		return fmt.Errorf("%s is missing beside %s, the ONNX Runtime library that this process has loaded: "+
			"run `se600m runtime install %s` and start a new process, or use device=\"cpu\" and precision=\"fp32\": %w",
			file, Library(), runtime, ErrDevice)
	}
	return nil
}

// needDriver checks for the NVIDIA driver, unless tests bring one that stands in
// for it.
func needDriver() error {
	if os.Getenv("SE600M_STANDIN_GPU") != "" {
		return nil
	}
	for _, driver := range []string{"/dev/nvidiactl", "/dev/dxg"} {
		if _, err := os.Stat(driver); err == nil {
			return nil
		}
	}
	return fmt.Errorf("there is no NVIDIA driver (neither /dev/nvidiactl nor /dev/dxg exists): "+
		"install it, or use device=\"cpu\": %w", ErrDevice)
}

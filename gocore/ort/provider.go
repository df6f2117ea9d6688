package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/nvidia"
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
	// OwnThread: runs start on threads that do nothing else, where libraries keep
	// what they have prepared.
	OwnThread bool
	// Bounded: graphs are prepared for batches within some bounds.
	Bounded bool
	// FixedShapes: every batch has as many sentences as the first, whether they are
	// of use or not, so that results do not depend on how many cells there are.
	FixedShapes bool
	// LengthStep is how far the lengths of batches lie apart; 0: 64.
	LengthStep int
	// LengthMultiple, if not 0, is what the number of tokens of a sentence is a
	// multiple of wherever attention takes multiplicities.
	LengthMultiple int
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
	// configure adds the provider to the options of a session.
	configure(options *onnxruntime.SessionOptions, s SessionOptions) error
}

// ResolveDevices gives the providers for a device, or for several GPUs with commas
// between them, and a precision. A device is "auto", "cpu", "openvino", "cuda",
// "cuda:N", "tensorrt" or "tensorrt:N"; a precision is "auto", "fp32", "fp16",
// "bf16" or "int8". The CPU has int8, and bf16 through OpenVINO; GPUs have fp16
// and bf16. Of precisions, "auto" is fp32 on the CPU and fp16 on a GPU. What a
// device asked for by name lacks is an error; only "auto" chooses: the first GPU
// if there is one that can be used, else the CPU. Errors wrap [ErrDevice] or
// [ErrPrecision].
func ResolveDevices(devices, precision string) ([]Provider, error) {
	var providers []Provider
	kinds := map[string]bool{}
	for device := range strings.SplitSeq(devices, ",") {
		device = strings.TrimSpace(device)
		p, err := ResolveDevice(device, precision)
		if err != nil {
			return nil, err
		}
		for _, other := range providers {
			if other.Name() == p.Name() {
				return nil, fmt.Errorf("device=%q: %s is named twice: %w", devices, p.Name(), ErrDevice)
			}
		}
		kinds[kindOf(p)] = true
		providers = append(providers, p)
	}
	if len(kinds) > 1 || len(providers) > 1 && !isGPU(providers[0]) {
		return nil, fmt.Errorf("device=%q: several devices must all be \"cuda:N\", or all \"tensorrt:N\", "+
			"so that it does not matter which of them embeds a cell: %w", devices, ErrDevice)
	}
	return providers, nil
}

// kindOf is a provider's name without its number.
func kindOf(p Provider) string {
	kind, _, _ := strings.Cut(p.Name(), ":")
	return kind
}

func isGPU(p Provider) bool { return kindOf(p) == "cuda" || kindOf(p) == "tensorrt" }

// ResolveDevice gives the provider for one device (see [ResolveDevices]).
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
	case kind == "auto" && !numbered:
		return automatic(wanted)
	case kind == "cpu" && !numbered && wanted != BF16:
		p = cpu{or(wanted, FP32)}
	case (kind == "cpu" || kind == "openvino") && !numbered:
		p = openVINO{or(wanted, FP32)}
	case kind == "cuda":
		p = cuda{gpu{id, or(wanted, FP16)}}
	case kind == "tensorrt":
		p = tensorRT{gpu{id, or(wanted, FP16)}}
	default:
		return nil, fmt.Errorf("device=%q is not one of \"auto\", \"cpu\", \"openvino\", \"cuda\", \"cuda:N\", \"tensorrt\", \"tensorrt:N\": %w",
			device, ErrDevice)
	}
	if !slices.Contains(precisions[kindOf(p)], p.Precision()) {
		return nil, fmt.Errorf("device=%q does not support precision=%q: leave one of them out: %w", device, precision, ErrDevice)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("device=%q: %w", device, err)
	}
	return p, nil
}

// precisions are those of each kind of device.
var precisions = map[string][]Precision{
	"cpu": {FP32, INT8}, "openvino": {FP32, BF16}, "cuda": {FP32, FP16, BF16}, "tensorrt": {FP32, FP16, BF16},
}

// or is a precision, or another one for [Auto].
func or(p, otherwise Precision) Precision {
	if p == Auto {
		return otherwise
	}
	return p
}

// automatic is the first GPU, if it has the precision and can be used, else the
// CPU. A GPU that is there and can't be used is worth a notice.
func automatic(wanted Precision) (Provider, error) {
	first := cuda{gpu{0, or(wanted, FP16)}}
	if slices.Contains(precisions["cuda"], first.precision) {
		err := first.check()
		if err == nil {
			return first, nil
		}
		if driver, _ := nvidia.Query(); len(driver.Devices) > 0 {
			notice.Once(fmt.Sprintf("%s is not used: %v", list(driver.Devices[:1]), err))
		}
		if wanted == FP16 {
			return nil, fmt.Errorf("precision=%q needs a GPU: device=\"cuda\": %w", wanted, err)
		}
	}
	return ResolveDevice("cpu", string(wanted))
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

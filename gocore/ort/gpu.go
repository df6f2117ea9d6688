package ort

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/nvidia"
)

// gpu is one NVIDIA GPU, and what is computed in there.
type gpu struct {
	id        int
	precision Precision
}

func (g gpu) Precision() Precision { return g.precision }

// device is the GPU as the driver describes it. The error wraps [ErrDevice].
func (g gpu) device() (nvidia.Device, error) {
	driver, err := nvidia.Query()
	if err != nil {
		return nvidia.Device{}, fmt.Errorf("%w: %w", err, ErrDevice)
	}
	if g.id >= len(driver.Devices) {
		return nvidia.Device{}, fmt.Errorf("there is no GPU number %d: this process may use %s: %w", g.id, list(driver.Devices), ErrDevice)
	}
	return driver.Devices[g.id], nil
}

// list names devices as users do.
func list(devices []nvidia.Device) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = fmt.Sprintf("cuda:%d (%s)", d.Number, d.Name)
	}
	return strings.Join(names, ", ")
}

// The least compute capabilities: what CUDA 13 runs on, and what has bfloat16.
const (
	leastCapability = 75
	bf16Capability  = 80
)

// check says what the machine lacks.
func (g gpu) check() error {
	device, err := g.device()
	if err != nil {
		return err
	}
	switch capability := 10*device.Major + device.Minor; {
	case capability < leastCapability:
		return fmt.Errorf("%s has compute capability %d.%d, but CUDA 13 needs 7.5: use device=\"cpu\": %w",
			device.Name, device.Major, device.Minor, ErrDevice)
	case g.precision == BF16 && capability < bf16Capability:
		return fmt.Errorf("%s has compute capability %d.%d, but precision=\"bf16\" needs 8.0: use precision=\"fp16\": %w",
			device.Name, device.Major, device.Minor, ErrDevice)
	}
	return nil
}

const (
	// gpuTokens are 32 whole transcriptomes with what they are padded to, which keep
	// the largest GPU busy.
	gpuTokens = 33 << 11
	// gpuFLOP is half a second of a node at 2 TFLOP/s, which is little for a GPU.
	gpuFLOP = 1e15
	// tokenElements is how many numbers of the width a token takes in a run at
	// most, measured as the arena's size over stand-ins.
	tokenElements = 16
)

// traits are those of a form: batches of few different shapes, as kernels are
// chosen and prepared for each, and two of them under way, so that the GPU does
// not wait for the host.
func (g gpu) traits(d modeldir.Dimensions, width int, form modeldir.Form) Traits {
	return Traits{
		Form: form, RunsAtOnce: 2, ThreadsPerRun: 1, OwnThread: true, NodeFLOP: gpuFLOP,
		MaxTokens: g.tokens(d, width, form), FixedShapes: true, LengthStep: 256, LengthMultiple: 16,
	}
}

// tokens is how many tokens fit into the free memory, in each of two batches
// beside the weights: a power of two, so that free memory seldom matters. A
// device that can't be asked is taken to have enough.
func (g gpu) tokens(d modeldir.Dimensions, width int, form modeldir.Form) int {
	free, _, err := nvidia.FreeMemory(g.id)
	if err != nil {
		return gpuTokens
	}
	element := 4
	if form.Layers != modeldir.Float32 {
		element = 2
	}
	weights := d.NLayers*(4*d.EmSize*d.EmSize+2*d.EmSize*d.DHid)*element + 4*d.NGenes*d.EmSize
	// Of a sentence of full length, the bias of attention alone is as long again.
	token := (tokenElements*width + d.PadLength) * element
	room := (int(min(free, math.MaxInt64))*9/10 - weights) / 2 / token
	if room < 1 {
		return 1 // the run will say how much it lacks
	}
	fits := 1 << (bits.Len(uint(room)) - 1)
	return min(gpuTokens, fits+fits/32)
}

// options are the CUDA provider's.
func (g gpu) options() map[string]string {
	return map[string]string{
		"device_id": strconv.Itoa(g.id),
		// What is needed, rather than twice as much each time.
		"arena_extend_strategy": "kSameAsRequested",
		// Flash, memory-efficient and cuDNN's attention: the other kernels take
		// hundreds of megabytes a cell.
		"sdpa_kernel": "11",
		// fp32 is fp32: TF32 has 11 significant bits.
		"use_tf32": "0",
		// Sums of 2,048 numbers in 16 bits would lose half of the digits.
		"enable_skip_layer_norm_strict_mode": "1",
	}
}

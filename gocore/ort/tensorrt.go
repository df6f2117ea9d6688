package ort

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/nvidia"
	onnxruntime "github.com/yalue/onnxruntime_go"
)

// tensorRT runs on one NVIDIA GPU through TensorRT, which makes an engine of a
// graph, and through CUDA where that has a part that TensorRT lacks.
type tensorRT struct{ gpu }

func (t tensorRT) Name() string { return fmt.Sprintf("tensorrt:%d", t.id) }

// Traits are graphs of standard operators, which TensorRT fuses itself.
func (t tensorRT) Traits(d modeldir.Dimensions, width, _ int) Traits {
	traits := t.traits(d, width, modeldir.Form{Layers: elements[t.precision], StandardOperators: true, PlainBins: true, Folded: true})
	traits.Bounded = true
	return traits
}

func (t tensorRT) check() error {
	if err := needProviderLibrary("libonnxruntime_providers_tensorrt.so", "cuda"); err != nil {
		return err
	}
	return t.gpu.check()
}

// configure has TensorRT take the graphs whose inputs' bounds are known: without,
// it would build anew for every other shape.
func (t tensorRT) configure(options *onnxruntime.SessionOptions, o SessionOptions) error {
	if o.Shapes == nil {
		return t.appendCUDA(options)
	}
	folder, err := t.engines(o)
	if err != nil {
		return err
	}
	p, err := onnxruntime.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer p.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	if err := p.Update(t.trtOptions(o, folder)); err != nil {
		return err
	}
	if err := options.AppendExecutionProviderTensorRT(p); err != nil {
		return err
	}
	if len(built(folder)) == 0 {
		notice.Sayf("TensorRT builds an engine for graph %q on %s, which takes minutes the first time; it is kept in %q", o.Name, t.Name(), folder)
	}
	return t.appendCUDA(options)
}

// trtOptions are TensorRT's for a session whose engines are kept in a folder.
func (t tensorRT) trtOptions(o SessionOptions, folder string) map[string]string {
	options := map[string]string{
		"device_id":               strconv.Itoa(t.id),
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   folder,
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   folder,
		"trt_profile_min_shapes":  profile(o.Shapes, Shapes.least),
		"trt_profile_opt_shapes":  profile(o.Shapes, Shapes.most),
		"trt_profile_max_shapes":  profile(o.Shapes, Shapes.most),
	}
	switch t.precision {
	case FP16:
		options["trt_fp16_enable"] = "1"
	case BF16:
		options["trt_bf16_enable"] = "1"
	}
	return options
}

// Shapes are the bounds of an input's shapes.
type Shapes struct{ Least, Most []int }

func (s Shapes) least() []int { return s.Least }
func (s Shapes) most() []int  { return s.Most }

// profile writes shapes as TensorRT's provider takes them: "a:1x2048,b:1x2048".
func profile(shapes map[string]Shapes, bound func(Shapes) []int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		var sizes []string
		for _, n := range bound(shapes[name]) {
			sizes = append(sizes, strconv.Itoa(n))
		}
		parts = append(parts, name+":"+strings.Join(sizes, "x"))
	}
	return strings.Join(parts, ",")
}

var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// engines makes the folder for the engines of a session, in the model directory.
func (t tensorRT) engines(o SessionOptions) (string, error) {
	device, err := t.device()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(o.Dir, "tensorrt", t.engineName(o, device.Name, nvidia.TensorRTVersion(), Version()))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("engines of TensorRT are kept in the model directory, but that can't be written: %w: "+
			"convert the checkpoint into your own folder, or use device=\"cuda\": %w", err, ErrDevice)
	}
	return folder, nil
}

// engineName names engines by all that they are good for: a GPU, a version of
// TensorRT and of ONNX Runtime, a precision, a graph and its shapes.
func (t tensorRT) engineName(o SessionOptions, device string, version int, runtime string) string {
	words := []string{
		device, "trt", strconv.Itoa(version), "ort", runtime, string(t.precision), o.Name,
		profile(o.Shapes, Shapes.most),
	}
	return strings.Trim(notInFileNames.ReplaceAllString(strings.Join(words, " "), "-"), "-")
}

// built are the engines in a folder.
func built(folder string) []string {
	engines, _ := filepath.Glob(filepath.Join(folder, "*.engine")) // the pattern is no bad one
	return engines
}

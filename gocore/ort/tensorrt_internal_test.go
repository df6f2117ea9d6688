package ort

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TensorRT is told the bounds of every input, its precision, and where engines
// are kept.
func TestTensorRTOptions(t *testing.T) {
	o := SessionOptions{Name: "weighted", Dir: t.TempDir(), Shapes: map[string]Shapes{
		"gene_indices":      {Least: []int{1, 271}, Most: []int{32, 2063}},
		"expression_values": {Least: []int{1, 271}, Most: []int{32, 2063}},
	}}
	for precision, flag := range map[Precision]string{FP16: "trt_fp16_enable", BF16: "trt_bf16_enable", FP32: ""} {
		options := tensorRT{gpu{1, precision}}.trtOptions(o, "/engines")
		for name, want := range map[string]string{
			"device_id":              "1",
			"trt_profile_min_shapes": "expression_values:1x271,gene_indices:1x271",
			"trt_profile_opt_shapes": "expression_values:32x2063,gene_indices:32x2063",
			"trt_profile_max_shapes": "expression_values:32x2063,gene_indices:32x2063",
			"trt_engine_cache_path":  "/engines", "trt_engine_cache_enable": "1",
			"trt_timing_cache_path": "/engines", "trt_timing_cache_enable": "1",
		} {
			if options[name] != want {
				t.Errorf("%s: %s is %q, want %q", precision, name, options[name], want)
			}
		}
		for _, other := range []string{"trt_fp16_enable", "trt_bf16_enable"} {
			if _, has := options[other]; has != (other == flag) {
				t.Errorf("%s: %s is there: %v", precision, other, has)
			}
		}
	}
}

// Engines are kept apart by all that they depend on: an engine of another
// TensorRT or GPU would be an error when it is loaded.
func TestEngineName(t *testing.T) {
	o := SessionOptions{Name: "dense", Shapes: map[string]Shapes{"tokens": {Least: []int{1, 20}, Most: []int{32, 271}}}}
	half := tensorRT{gpu{0, FP16}}
	other := o
	other.Name = "weighted"
	longer := o
	longer.Shapes = map[string]Shapes{"tokens": {Least: []int{1, 20}, Most: []int{32, 527}}}
	names := map[string]bool{}
	for _, name := range []string{
		half.engineName(o, "NVIDIA H100", 101401, "1.31.1"),
		half.engineName(o, "NVIDIA H200", 101401, "1.31.1"),
		half.engineName(o, "NVIDIA H100", 101500, "1.31.1"),
		half.engineName(o, "NVIDIA H100", 101401, "1.32.0"),
		tensorRT{gpu{0, BF16}}.engineName(o, "NVIDIA H100", 101401, "1.31.1"),
		half.engineName(other, "NVIDIA H100", 101401, "1.31.1"),
		half.engineName(longer, "NVIDIA H100", 101401, "1.31.1"),
	} {
		if names[name] || notInFileNames.MatchString(strings.ReplaceAll(name, "-", "")) || len(name) > 250 {
			t.Errorf("%q", name)
		}
		names[name] = true
	}
	if same := (tensorRT{gpu{1, FP16}}).engineName(o, "NVIDIA H100", 101401, "1.31.1"); !names[same] {
		t.Errorf("two GPUs of a kind share engines, but %q", same)
	}
}

// A folder without an engine has none.
func TestBuiltEngines(t *testing.T) {
	dir := t.TempDir()
	if got := built(dir); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "TensorrtExecutionProvider_x_sm90.engine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := built(dir); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

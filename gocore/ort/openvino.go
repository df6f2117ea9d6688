package ort

import (
	"encoding/json"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
	onnxruntime "github.com/yalue/onnxruntime_go"
	syscpu "golang.org/x/sys/cpu"
)

// openVINO runs on the CPU through OpenVINO, which can compute in bfloat16. It
// makes one node of every part of a graph between operators that it lacks, and
// compiles that when a session opens.
type openVINO struct{ precision Precision }

func (openVINO) Name() string { return "openvino" }

func (o openVINO) Precision() Precision { return o.precision }

// Traits are graphs of standard operators in parts, between which a run can end
// early, and runs one at a time, as OpenVINO spreads each over all threads.
func (openVINO) Traits(d modeldir.Dimensions, _, threads int) Traits {
	return Traits{
		Form: modeldir.Form{
			Layers: modeldir.Float32, StandardOperators: true, PlainBins: true,
			// That of onnxruntime-openvino 1.24.1 fails on the fewer operations in bf16.
			WholeRead:     true,
			LayersPerPart: max(1, int(partFLOP/(d.LayerFLOP(d.PadLength)*float64(d.PadLength)))),
		},
		RunsAtOnce: 1, ThreadsPerRun: threads,
		// Half a second at the 100 GFLOP/s that narrow models reach.
		NodeFLOP: 5e10, MaxTokens: cachedTokens,
	}
}

// partFLOP is how many operations a sentence of full length takes at most in
// one part, which runs without a pause: under a second at the 350 GFLOP/s that
// two cores with bf16 reach. Every part has buffers of its own, about 100 MB at
// SE-600M's width, so parts are no smaller than that.
const partFLOP = 3e11

func (o openVINO) check() error {
	if o.precision == BF16 && !hasBF16 {
		return fmt.Errorf("precision=%q: this processor has neither AVX512-BF16 nor AMX: use precision=\"fp32\": %w", BF16, ErrDevice)
	}
	return needProviderLibrary("libonnxruntime_providers_openvino.so", "openvino")
}

// hasBF16 tells whether the processor has instructions for products in
// bfloat16. Without them OpenVINO would compute in fp32 and not say so.
var hasBF16 = syscpu.X86.HasAVX512BF16 || syscpu.X86.HasAMXBF16

func (o openVINO) configure(options *onnxruntime.SessionOptions, s SessionOptions) error {
	if err := keepLayerNorm(options); err != nil {
		return err
	}
	hint := "f32"
	if o.precision == BF16 {
		hint = "bf16"
	}
	config, err := json.Marshal(map[string]any{"CPU": map[string]any{
		"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": max(1, s.Threads), "NUM_STREAMS": "1",
		// Threads bound to cores would wait for whatever else runs there.
		"ENABLE_CPU_PINNING": false,
	}})
	if err != nil {
		return err
	}
	return options.AppendExecutionProviderOpenVINO(map[string]string{"device_type": "CPU", "load_config": string(config)})
}

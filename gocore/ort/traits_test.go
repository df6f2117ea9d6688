package ort

import (
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

var (
	se600m = modeldir.Dimensions{EmSize: 2048, DHid: 2048, NHead: 16, NLayers: 16, PadLength: 2048}
	narrow = modeldir.Dimensions{EmSize: 96, DHid: 96, NHead: 4, NLayers: 3, PadLength: 2048}
)

// Every provider says what it can do, for wide and for narrow models.
func TestTraits(t *testing.T) {
	for _, c := range []struct {
		name          string
		provider      Provider
		dims          modeldir.Dimensions
		runs, threads int
		form          modeldir.Form
	}{
		{"cpu, wide", cpu{FP32}, se600m, 1, 8, modeldir.Form{Layers: modeldir.Float32, WholeRead: true}},
		{"cpu, narrow", cpu{FP32}, narrow, 8, 1, modeldir.Form{Layers: modeldir.Float32}},
		{"cpu, int8", cpu{INT8}, se600m, 1, 8, modeldir.Form{Layers: modeldir.Int8, WholeRead: true}},
		{"openvino, wide", openVINO{BF16}, se600m, 1, 8, modeldir.Form{
			Layers: modeldir.Float32, StandardOperators: true, PlainBins: true, WholeRead: true, LayersPerPart: 2,
		}},
		{"cuda", cuda{gpu{0, FP32}}, narrow, 2, 1, modeldir.Form{Layers: modeldir.Float32, PlainBins: true, Folded: true, FusedNorm: true}},
		{"cuda, bf16", cuda{gpu{0, BF16}}, se600m, 2, 1, modeldir.Form{
			Layers: modeldir.BFloat16, PlainBins: true, Folded: true, FusedNorm: true,
		}},
		{"tensorrt", tensorRT{gpu{0, FP16}}, se600m, 2, 1, modeldir.Form{
			Layers: modeldir.Float16, StandardOperators: true, PlainBins: true, Folded: true,
		}},
	} {
		got := c.provider.Traits(c.dims, c.dims.EmSize, 8)
		if got.RunsAtOnce != c.runs || got.ThreadsPerRun != c.threads || got.Form != c.form || got.NodeFLOP <= 0 || got.MaxTokens <= 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	if got := (openVINO{}).Traits(narrow, narrow.EmSize, 8); got.RunsAtOnce != 1 || got.Form.LayersPerPart < narrow.NLayers {
		t.Errorf("openvino, narrow: %+v", got)
	}
}

// Where the processor lacks bfloat16, the library is not asked for in vain.
func TestBF16NeedsTheProcessor(t *testing.T) {
	defer func(had bool) { hasBF16 = had }(hasBF16)
	hasBF16 = false
	for _, device := range []string{"auto", "cpu", "openvino"} {
		_, err := ResolveDevice(device, "bf16")
		if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "AVX512-BF16") || !strings.Contains(err.Error(), "fp32") {
			t.Errorf("device %q: %v", device, err)
		}
	}
}

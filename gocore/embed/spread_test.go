package embed

import (
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
)

// No machine is given more busy threads than it has, and none fewer: a wide
// model's run takes all of them, a narrow model's runs one each.
func TestSpread(t *testing.T) {
	cpu, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Config: &modeldir.Config{}, devices: []*device{{provider: cpu}}}
	for _, c := range []struct{ threads, width, lanes, threadsPerLane int }{
		{1, 2048, 1, 1},
		{2, 2048, 1, 2},
		{16, 2048, 1, 16},
		{64, 2048, 1, 64},
		{1, 128, 1, 1},
		{2, 128, 2, 1},
		{16, 128, 16, 1},
		{64, 128, 64, 1},
	} {
		e, err := m.spread(c.threads, c.width)
		if err != nil || len(e.lanes) != c.lanes || e.workers > c.threads {
			t.Errorf("%+v: %+v, %v", c, e, err)
		}
		for _, l := range e.lanes {
			if l.threads != c.threadsPerLane {
				t.Errorf("%+v: a lane of %d", c, l.threads)
			}
		}
	}
}

// A batch's largest node stays below what the provider allows: half a second.
func TestTokenBudget(t *testing.T) {
	se600m := modeldir.Dimensions{EmSize: 2048, DHid: 2048, NHead: 16, NLayers: 16, PadLength: 2048}
	cpu := ort.Traits{NodeFLOP: 2e10, MaxTokens: 8192}
	parts := ort.Traits{NodeFLOP: 5e10, MaxTokens: 8192, Form: modeldir.Form{LayersPerPart: 2}}
	for _, c := range []struct {
		traits       ort.Traits
		dims         modeldir.Dimensions
		length, want int
	}{
		{cpu, se600m, 2048, 794},
		{cpu, se600m, 765, 1364},
		{parts, se600m, 2048, 372},
		{cpu, modeldir.Dimensions{EmSize: 128, DHid: 256}, 2048, 8192},
		{cpu, modeldir.Dimensions{EmSize: 1 << 20, DHid: 1 << 20}, 2048, 1},
	} {
		if got := (execution{traits: c.traits}).tokenBudget(c.dims, c.length); got != c.want {
			t.Errorf("%+v, sentences of %d: %d tokens, want %d", c.dims, c.length, got, c.want)
		}
	}
}

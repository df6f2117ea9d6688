package ort_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/ort"
)

func encode(t *testing.T, g *onnx.Graph) []byte {
	t.Helper()
	model, err := g.Model("tests", "1")
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func open(t *testing.T, g *onnx.Graph, dir string, inputs, outputs []string) *ort.Session {
	t.Helper()
	statetest.NeedRuntime(t)
	cpu, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(encode(t, g), ort.SessionOptions{Dir: dir, Provider: cpu, Threads: 1, Inputs: inputs, Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// gather is rows[picked] + 1, with the positions once more as int64.
func gather(t *testing.T) *ort.Session {
	t.Helper()
	g := onnx.NewGraph("gather")
	rows := g.Input("rows", onnx.Float32, "n", 2)
	picked := g.Input("picked", onnx.Int32, "k")
	g.Output(g.Op("Add", []onnx.Value{g.Op("Gather", []onnx.Value{rows, picked}), g.Scalar(1)}), "out", onnx.Float32, "k", 2)
	g.Output(g.Op("Cast", []onnx.Value{picked}, onnx.Attr{Name: "to", Value: int(onnx.Int64)}), "wide", onnx.Int64, "k")
	return open(t, g, "", []string{"rows", "picked"}, []string{"out", "wide"})
}

func TestRun(t *testing.T) {
	s := gather(t)
	for _, picked := range [][]int32{{2, 0}, {1}} { // shapes may differ from run to run
		k := len(picked)
		out, wide := make([]float32, 2*k), make([]int64, k)
		err := s.Run(t.Context(),
			[]ort.Tensor{{Shape: []int{3, 2}, Float32: []float32{1, 2, 3, 4, 5, 6}}, {Shape: []int{k}, Int32: picked}},
			[]ort.Tensor{{Shape: []int{k, 2}, Float32: out}, {Shape: []int{k}, Int64: wide}})
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range picked {
			if out[2*i] != float32(2*row+2) || out[2*i+1] != float32(2*row+3) || wide[i] != int64(row) {
				t.Errorf("picked %v: %v, %v", picked, out, wide)
			}
		}
	}
	if ort.Version() == "" || ort.Library() == "" {
		t.Errorf("version %q of %q", ort.Version(), ort.Library())
	}
}

func TestRefusedRuns(t *testing.T) {
	s := gather(t)
	rows := ort.Tensor{Shape: []int{1, 2}, Float32: []float32{1, 2}}
	picked := ort.Tensor{Shape: []int{1}, Int32: []int32{0}}
	out := ort.Tensor{Shape: []int{1, 2}, Float32: make([]float32, 2)}
	wide := ort.Tensor{Shape: []int{1}, Int64: make([]int64, 1)}
	for _, c := range []struct {
		name            string
		inputs, outputs []ort.Tensor
		says            string
	}{
		{"shape and memory differ", []ort.Tensor{{Shape: []int{2, 2}, Float32: []float32{1, 2}}, picked}, []ort.Tensor{out, wide}, "shape [2 2] has 2 elements"},
		{"an output's shape and memory differ", []ort.Tensor{rows, picked}, []ort.Tensor{{Shape: []int{3}, Float32: make([]float32, 2)}, wide}, "shape [3]"},
		{"no memory", []ort.Tensor{rows, {Shape: []int{0}}}, []ort.Tensor{out, wide}, "0 elements"},
		{"an index out of range", []ort.Tensor{rows, {Shape: []int{1}, Int32: []int32{5}}}, []ort.Tensor{out, wide}, "Gather"},
		{"another type", []ort.Tensor{{Shape: []int{1, 2}, Int32: []int32{1, 2}}, picked}, []ort.Tensor{out, wide}, "input data type"},
		{"another output rank", []ort.Tensor{rows, picked}, []ort.Tensor{{Shape: []int{2}, Float32: make([]float32, 2)}, wide}, "rank for output"},
		{"another output shape", []ort.Tensor{rows, picked}, []ort.Tensor{{Shape: []int{2, 2}, Float32: make([]float32, 4)}, wide}, "Add"},
		{"too few inputs", []ort.Tensor{rows}, []ort.Tensor{out, wide}, "input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Run(t.Context(), c.inputs, c.outputs)
			if !errors.Is(err, ort.ErrRun) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
		})
	}
	if err := s.Run(t.Context(), []ort.Tensor{rows, picked}, []ort.Tensor{out, wide}); err != nil || out.Float32[0] != 2 {
		t.Errorf("after failures: %v, %v", out.Float32, err)
	}
}

// heavy is a chain of products, for seconds of work. It gives the first value and the last.
func heavy(t *testing.T) (s *ort.Session, width int) {
	t.Helper()
	width = 512
	g := onnx.NewGraph("heavy")
	x := g.Input("x", onnx.Float32, "n", width)
	step := func(y onnx.Value) onnx.Value { // 0.27 GFLOP for a square x
		return g.Op("Tanh", []onnx.Value{g.Op("MatMul", []onnx.Value{x, y})})
	}
	first := step(x)
	last := first
	for range 1000 {
		last = step(last)
	}
	g.Output(first, "first", onnx.Float32, "n", width)
	g.Output(last, "last", onnx.Float32, "n", width)
	return open(t, g, "", []string{"x"}, []string{"first", "last"}), width
}

func TestCancel(t *testing.T) {
	s, width := heavy(t)
	const untouched = 7 // no hyperbolic tangent
	values := func() ort.Tensor {
		v := ort.Tensor{Shape: []int{width, width}, Float32: make([]float32, width*width)}
		for i := range v.Float32 {
			v.Float32[i] = untouched
		}
		return v
	}
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		first, last := values(), values()
		err := s.Run(ctx, []ort.Tensor{values()}, []ort.Tensor{first, last})
		if !errors.Is(err, context.Canceled) || first.Float32[0] != untouched || last.Float32[0] != untouched {
			t.Errorf("got %v, %v, %v", err, first.Float32[0], last.Float32[0])
		}
	})
	t.Run("meanwhile", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, last := values(), values()
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, []ort.Tensor{values()}, []ort.Tensor{first, last}) }()
		// ONNX Runtime writes the first value while it goes on.
		begun := (*atomic.Uint32)(unsafe.Pointer(&first.Float32[0]))
		for begun.Load() == math.Float32bits(untouched) && len(ended) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		err := <-ended
		if !errors.Is(err, context.Canceled) || errors.Is(err, ort.ErrRun) {
			t.Errorf("got %v", err)
		}
		if last.Float32[0] != untouched {
			t.Errorf("it went on to the end: %v", last.Float32[0])
		}
	})
	t.Run("used again", func(t *testing.T) {
		g := gather(t)
		err := g.Run(t.Context(),
			[]ort.Tensor{{Shape: []int{1, 2}, Float32: []float32{1, 2}}, {Shape: []int{1}, Int32: []int32{0}}},
			[]ort.Tensor{{Shape: []int{1, 2}, Float32: make([]float32, 2)}, {Shape: []int{1}, Int64: make([]int64, 1)}})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestConcurrentRuns(t *testing.T) {
	s := gather(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				v := float32(i)
				out := make([]float32, 2)
				err := s.Run(t.Context(),
					[]ort.Tensor{{Shape: []int{1, 2}, Float32: []float32{v, -v}}, {Shape: []int{1}, Int32: []int32{0}}},
					[]ort.Tensor{{Shape: []int{1, 2}, Float32: out}, {Shape: []int{1}, Int64: make([]int64, 1)}})
				if err != nil || out[0] != v+1 || out[1] != 1-v {
					t.Errorf("%v: %v, %v", v, out, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestRefusedModels(t *testing.T) {
	statetest.NeedRuntime(t)
	cpu, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	g := onnx.NewGraph("external")
	w := g.External("w", onnx.Float32, []int{2}, onnx.Location{File: "nowhere.bin", Length: 8})
	g.Output(w, "y", onnx.Float32, 2)
	unknown := onnx.NewGraph("unknown")
	unknown.Output(unknown.Op("NoSuchOperator", []onnx.Value{unknown.Input("x", onnx.Float32, 1)}), "y", onnx.Float32, 1)
	dir := t.TempDir()
	for name, model := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "weights missing": encode(t, g), "unknown operator": encode(t, unknown),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ort.NewSession(model, ort.SessionOptions{Name: "dense", Dir: dir, Provider: cpu, Threads: 1, Outputs: []string{"y"}})
			if !errors.Is(err, ort.ErrSession) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf(`"dense" of %q on cpu`, dir)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Sums of 8-bit products are exact on every processor. These are the largest
// there are: kernels that add two of them in 16 bits would cut them off.
func TestProductsInInt8(t *testing.T) {
	statetest.NeedRuntime(t)
	const in, out = 64, 20
	dir := t.TempDir()
	weights, err := onnx.CreateWeights(filepath.Join(dir, "w.bin"))
	if err != nil {
		t.Fatal(err)
	}
	values := make([]int8, in*out)
	for i := range values {
		values[i] = 127
	}
	w, err := weights.Int8(values)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := weights.Close(); err != nil {
		t.Fatal(err)
	}
	g := onnx.NewGraph("products")
	x := g.Op("Cast", []onnx.Value{g.Input("x", onnx.Float32, "n", in)}, onnx.Attr{Name: "to", Value: int(onnx.Uint8)})
	y := g.Fused("MatMulIntegerToFloat", []onnx.Value{
		x, g.External("w", onnx.Int8, []int{in, out}, w), g.Scalar(1), g.Scalar(1), g.Byte(onnx.Uint8, 128), g.Byte(onnx.Int8, 0),
	})
	g.Output(y, "y", onnx.Float32, "n", out)
	s := open(t, g, dir, []string{"x"}, []string{"y"})
	const n = 5
	given, got := make([]float32, n*in), make([]float32, n*out)
	for i := range given {
		given[i] = 255
	}
	err = s.Run(t.Context(), []ort.Tensor{{Shape: []int{n, in}, Float32: given}}, []ort.Tensor{{Shape: []int{n, out}, Float32: got}})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != 127*127*in {
			t.Fatalf("product %d is %v, want %d", i, v, 127*127*in)
		}
	}
}

package ort_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/standin"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"github.com/se600m/se600m-go/gocore/ort"
)

// openOn opens a graph on a device until the test ends. TensorRT takes graphs
// whose shapes have bounds.
func openOn(
	t *testing.T, g *onnx.Graph, device string, inputs, outputs []string, shapes map[string]ort.Shapes,
) (*ort.Session, error) {
	t.Helper()
	statetest.NeedRuntime(t)
	p, err := ort.ResolveDevice(device, "fp32")
	if err != nil {
		return nil, err
	}
	s, err := ort.NewSession(encode(t, g), ort.SessionOptions{
		Name: "small", Dir: t.TempDir(), Provider: p, Threads: 1, Inputs: inputs, Outputs: outputs, Shapes: shapes,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, nil
}

// attend runs attention of SE-600M's two first heads, in some element type.
func attend(t *testing.T, element onnxpb.TensorProto_DataType, biased bool, length int) error {
	t.Helper()
	const heads, width = 2, 256
	g := onnx.NewGraph("attention")
	in := func(name onnx.Value, dims ...any) onnx.Value {
		return g.Op("Cast", []onnx.Value{g.Input(name, onnx.Float32, dims...)}, onnx.Attr{Name: "to", Value: int(element)})
	}
	x := in("x", 1, "length", width)
	inputs := []onnx.Value{x, x, x}
	names, tensors := []string{"x"}, []ort.Tensor{{Shape: []int{1, length, width}, Float32: make([]float32, length*width)}}
	if biased {
		inputs = append(inputs, "", "", in("bias", 1, 1, "length", "length"))
		names = append(names, "bias")
		tensors = append(tensors, ort.Tensor{Shape: []int{1, 1, length, length}, Float32: make([]float32, length*length)})
	}
	y := g.Fused("MultiHeadAttention", inputs, onnx.Attr{Name: "num_heads", Value: heads})
	g.Output(g.Op("Cast", []onnx.Value{y}, onnx.Attr{Name: "to", Value: int(onnx.Float32)}), "y", onnx.Float32, 1, "length", width)
	s, err := openOn(t, g, "cuda", names, []string{"y"}, nil)
	if err != nil {
		return err
	}
	return s.Run(t.Context(), tensors, []ort.Tensor{{Shape: []int{1, length, width}, Float32: make([]float32, length*width)}})
}

// Which kernel ONNX Runtime takes for heads as wide as SE-600M's depends on the
// element type, on whether there is a bias, on the length and on cuDNN's
// version. MATH makes the whole matrix of scores: at 2,049 slots and 16 heads
// 294 MB a cell in 16 bits.
func TestGPUAttentionKernels(t *testing.T) {
	standin.Need(t)
	const (
		cudnn     = "CUDNN_FLASH_ATTENTION"
		flash     = "FLASH_ATTENTION"
		efficient = "EFFICIENT_ATTENTION"
		math      = "MATH"
	)
	lengths := []int{2049, 2056, 2064, 128}
	// With the newest cuDNN, and with one that ONNX Runtime refuses or finds too old.
	usable, others := []int{91900, 90300}, []int{91000, 91001, 90200}
	for _, c := range []struct {
		element  onnxpb.TensorProto_DataType
		biased   bool
		versions []int
		want     []string
	}{
		{onnxpb.TensorProto_FLOAT, false, slices.Concat(usable, others), []string{efficient, efficient, efficient, efficient}},
		{onnxpb.TensorProto_FLOAT, true, slices.Concat(usable, others), []string{math, math, efficient, efficient}},
		{onnxpb.TensorProto_FLOAT16, false, usable, []string{cudnn, cudnn, cudnn, cudnn}},
		{onnxpb.TensorProto_FLOAT16, true, usable, []string{cudnn, cudnn, cudnn, cudnn}},
		{onnxpb.TensorProto_FLOAT16, false, others, []string{flash, flash, flash, flash}},
		{onnxpb.TensorProto_FLOAT16, true, others, []string{math, efficient, efficient, efficient}},
		{onnxpb.TensorProto_BFLOAT16, false, usable, []string{cudnn, cudnn, cudnn, cudnn}},
		{onnxpb.TensorProto_BFLOAT16, true, usable, []string{cudnn, cudnn, cudnn, cudnn}},
		{onnxpb.TensorProto_BFLOAT16, false, others, []string{efficient, efficient, efficient, efficient}},
		{onnxpb.TensorProto_BFLOAT16, true, others, []string{math, efficient, efficient, efficient}},
	} {
		for _, version := range c.versions {
			t.Run(fmt.Sprintf("%s, bias %v, cuDNN %d", c.element, c.biased, version), func(t *testing.T) {
				outcome := standin.Run(t, standin.GPU{CuDNN: version}, func(t *testing.T) {
					for _, length := range lengths {
						if err := attend(t, c.element, c.biased, length); err != nil {
							t.Fatal(err)
						}
					}
				})
				var got []string
				for _, a := range outcome.Attention {
					got = append(got, a.Kernel)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("at lengths %v: %v, want %v", lengths, got, c.want)
				}
			})
		}
	}
}

// add runs x + 1 on a device.
func add(t *testing.T, device string) error {
	t.Helper()
	y, err := plusOne(t, device)
	if err == nil && !slices.Equal(y, []float32{0, 0, 0}) {
		t.Errorf("a kernel that does nothing gave %v", y)
	}
	return err
}

// plusOne is 1, 2 and 3, each plus 1, as a device computes it.
func plusOne(t *testing.T, device string) ([]float32, error) {
	t.Helper()
	g := onnx.NewGraph("add")
	g.Output(g.Op("Add", []onnx.Value{g.Input("x", onnx.Float32, "n"), g.Scalar(1)}), "y", onnx.Float32, "n")
	s, err := openOn(t, g, device, []string{"x"}, []string{"y"}, map[string]ort.Shapes{"x": {Least: []int{1}, Most: []int{3}}})
	if err != nil {
		return nil, err
	}
	y := []float32{7, 7, 7}
	return y, s.Run(t.Context(), []ort.Tensor{{Shape: []int{3}, Float32: []float32{1, 2, 3}}}, []ort.Tensor{{Shape: []int{3}, Float32: y}})
}

// TensorRT's provider opens. The stand-in takes no node, so CUDA runs them all,
// on the device of the same number. That an engine is built is said first, and
// the folder that is named is one for this version of TensorRT.
func TestGPUTensorRT(t *testing.T) {
	outcome := standin.Run(t, standin.GPU{Count: 2}, func(t *testing.T) {
		notice.Take()
		if _, err := plusOne(t, "tensorrt:1"); err != nil {
			t.Fatal(err)
		}
		said := strings.Join(notice.Take(), "\n")
		if !strings.Contains(said, "TensorRT builds an engine for graph") || !strings.Contains(said, "trt-101401-ort-") {
			t.Errorf("said: %q", said)
		}
	})
	if len(outcome.Sessions) != 1 || len(outcome.Sessions[0].Nodes) != 1 {
		t.Fatalf("%+v", outcome.Sessions)
	}
	if node := outcome.Sessions[0].Nodes[0]; node.Provider != standin.CUDA {
		t.Error(node)
	}
	if outcome.Devices[0].Launches != 0 || outcome.Devices[1].Launches == 0 {
		t.Errorf("%+v", outcome.Devices[:2])
	}
}

// What libraries do with signals when they start is undone: CUDA's runtime, as a
// stand-in, ignores SIGUSR2.
func TestGPUSignals(t *testing.T) {
	const usr2 = 1 << (12 - 1)
	ignored := func() (ignored uint64) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
		if _, err := fmt.Sscanf(rest, "%x", &ignored); err != nil {
			t.Fatal(err)
		}
		return ignored
	}
	standin.Run(t, standin.GPU{}, func(t *testing.T) {
		before := ignored()
		if before&usr2 != 0 {
			t.Fatal("SIGUSR2 is ignored before")
		}
		if _, err := plusOne(t, "cuda"); err != nil {
			t.Fatal(err)
		}
		if after := ignored(); after != before {
			t.Errorf("ignored signals: %x, before %x", after, before)
		}
	})
}

// A session runs on the device of the number, and on no other.
func TestGPUNumbers(t *testing.T) {
	outcome := standin.Run(t, standin.GPU{Count: 4}, func(t *testing.T) {
		for i, device := range []string{"cuda", "cuda:1", "cuda:2", "cuda:3", "cuda:3"} {
			before := standin.Now(t)
			if err := add(t, device); err != nil {
				t.Fatal(err)
			}
			for k, after := range standin.Now(t) {
				if launched := after.Launches - before[k].Launches; (launched > 0) != (k == min(i, 3)) {
					t.Errorf("%s: %d kernels on device %d", device, launched, k)
				}
			}
		}
	})
	for i, d := range outcome.Devices {
		if (d.Peak > 0) != (i < 4) || d.Memory != 0 || (d.ToDevice > 0) != (i < 4) || (d.ToHost > 0) != (i < 4) {
			t.Errorf("device %d: %+v", i, d)
		}
	}
}

// An operator that CUDA lacks runs on the host, and what goes there and back is
// seen to be copied.
func TestGPUCopiesAreSeen(t *testing.T) {
	outcome := standin.Run(t, standin.GPU{}, func(t *testing.T) {
		g := onnx.NewGraph("unique")
		x := g.Op("Add", []onnx.Value{g.Input("x", onnx.Float32, "n"), g.Scalar(1)})
		u := g.Op("Unique", []onnx.Value{x})
		g.Output(g.Op("Add", []onnx.Value{u, g.Scalar(1)}), "y", onnx.Float32, "k")
		s, err := openOn(t, g, "cuda", []string{"x"}, []string{"y"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		in, out := []float32{1, 1, 1}, []float32{7} // nothing computes, so all are zero
		if err := s.Run(t.Context(), []ort.Tensor{{Shape: []int{3}, Float32: in}}, []ort.Tensor{{Shape: []int{1}, Float32: out}}); err != nil {
			t.Fatal(err)
		}
	})
	if len(outcome.Sessions) != 1 {
		t.Fatalf("%d sessions", len(outcome.Sessions))
	}
	var got []string
	for _, n := range outcome.Sessions[0].Nodes {
		got = append(got, n.Op+" "+n.Provider)
	}
	if want := []string{
		"Add " + standin.CUDA, "MemcpyToHost " + standin.CUDA, "Unique " + standin.CPU, "MemcpyFromHost " + standin.CUDA, "Add " + standin.CUDA,
	}; !slices.Equal(got, want) || len(outcome.Sessions[0].Copies()) != 2 || len(outcome.Sessions[0].NotOn(standin.CUDA)) != 3 {
		t.Errorf("ran %v, want %v", got, want)
	}
}

// What is missing or wrong is an error that says what, and no other device is
// taken.
func TestGPUFailures(t *testing.T) {
	standin.Need(t)
	for _, c := range []struct {
		name, device string
		gpu          standin.GPU
		words        []string
	}{
		{"a number too high", "cuda:4", standin.GPU{Count: 4}, []string{"4"}},
		{"a number where there is one", "cuda:1", standin.GPU{}, []string{"1"}},
		{"no device", "cuda", standin.GPU{Count: standin.None}, []string{"no CUDA-capable device"}},
		{"too old a driver", "cuda", standin.GPU{Driver: 12080}, []string{"driver"}},
		{"no driver", "cuda", standin.GPU{Without: []string{"libcuda.so.1"}}, []string{"libcuda.so.1"}},
		{"no runtime", "cuda", standin.GPU{Without: []string{"libcudart.so.13"}}, []string{"libcudart.so.13"}},
		{"no cuBLAS", "cuda", standin.GPU{Without: []string{"libcublas.so.13"}}, []string{"libcublas.so.13"}},
		{"no cuBLASLt", "cuda", standin.GPU{Without: []string{"libcublasLt.so.13"}}, []string{"libcublasLt.so.13"}},
		{"no cuRAND", "cuda", standin.GPU{Without: []string{"libcurand.so.10"}}, []string{"libcurand.so.10"}},
		{"no TensorRT", "tensorrt", standin.GPU{Without: []string{"libnvinfer.so.10"}}, []string{"libnvinfer.so.10"}},
		{"no parser", "tensorrt", standin.GPU{Without: []string{"libnvonnxparser.so.10"}}, []string{"libnvonnxparser.so.10"}},
		{"no memory", "cuda", standin.GPU{Memory: 1 << 10}, []string{"memory"}},
		{"a dead device", "cuda", standin.GPU{Dead: "0"}, []string{"unspecified launch failure"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcome := standin.Run(t, c.gpu, func(t *testing.T) { refused(t, add(t, c.device), c.device, c.words) })
			for i, d := range outcome.Devices {
				if d.Launches > 0 {
					t.Errorf("%d kernels ran on device %d", d.Launches, i)
				}
			}
		})
	}
	// Attention asks for cuDNN whatever kernel it takes.
	t.Run("no cuDNN", func(t *testing.T) {
		standin.Run(t, standin.GPU{Without: []string{"libcudnn.so.9"}}, func(t *testing.T) {
			refused(t, attend(t, onnxpb.TensorProto_FLOAT, false, 300), "cuda", []string{"libcudnn.so"})
		})
	})
}

// refused checks an error that names the device and other words.
func refused(t *testing.T, err error, device string, words []string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	t.Log(err)
	for _, word := range append(words, device) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
}

package onnx_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/onnx"
	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

func decode(t *testing.T, g *onnx.Graph) (*onnxpb.ModelProto, []byte) {
	t.Helper()
	text, err := g.Model("tests", "7")
	if err != nil {
		t.Fatal(err)
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(text, model); err != nil {
		t.Fatal(err)
	}
	return model, text
}

// linear is y = x·w + b, with a bit of everything.
func linear() *onnx.Graph {
	g := onnx.NewGraph("linear")
	x := g.Input("x", onnx.Float32, "batch", 3)
	w := g.External("w", onnx.Float32, []int{3, 2}, onnx.Location{File: "w.bin", Offset: 4096, Length: 24})
	y := g.Op("Add", []onnx.Value{g.Op("MatMul", []onnx.Value{x, w}), g.Scalar(0.5)})
	y = g.Op("Transpose", []onnx.Value{y}, onnx.Attr{Name: "perm", Value: []int{1, 0}})
	y = g.Fused("SkipLayerNormalization", []onnx.Value{y, "", g.Ints(1, 2)}, onnx.Attr{Name: "epsilon", Value: float32(0.25)}, onnx.Attr{Name: "n", Value: 4})
	g.Output(y, "y", onnx.Float32, 2, "batch")
	return g
}

func TestModel(t *testing.T) {
	model, text := decode(t, linear())
	if model.GetProducerName() != "tests" || model.GetProducerVersion() != "7" || model.GetIrVersion() != 10 {
		t.Errorf("%s %s, IR %d", model.GetProducerName(), model.GetProducerVersion(), model.GetIrVersion())
	}
	imports := map[string]int64{}
	for _, o := range model.OpsetImport {
		imports[o.GetDomain()] = o.GetVersion()
	}
	if len(imports) != 2 || imports[""] != 21 || imports["com.microsoft"] != 1 {
		t.Errorf("opsets %v", imports)
	}
	var nodes []string
	for _, n := range model.Graph.Node {
		nodes = append(nodes, fmt.Sprintf("%s:%s(%s)=%s", n.GetDomain(), n.GetOpType(), strings.Join(n.Input, ","), strings.Join(n.Output, ",")))
	}
	if want := []string{
		":MatMul(x,w)=MatMul_1", ":Add(MatMul_1,scalar_1)=Add_1", ":Transpose(Add_1)=Transpose_1",
		"com.microsoft:SkipLayerNormalization(Transpose_1,,ints_1)=SkipLayerNormalization_1", ":Identity(SkipLayerNormalization_1)=y",
	}; !slices.Equal(nodes, want) {
		t.Errorf("nodes %q, want %q", nodes, want)
	}
	attrs := map[string]*onnxpb.AttributeProto{}
	for _, n := range model.Graph.Node {
		for _, a := range n.Attribute {
			attrs[a.GetName()] = a
		}
	}
	if a := attrs["perm"]; a.GetType() != onnxpb.AttributeProto_INTS || !slices.Equal(a.Ints, []int64{1, 0}) {
		t.Errorf("perm %v", a)
	}
	if a := attrs["epsilon"]; a.GetType() != onnxpb.AttributeProto_FLOAT || a.GetF() != 0.25 {
		t.Errorf("epsilon %v", a)
	}
	if a := attrs["n"]; a.GetType() != onnxpb.AttributeProto_INT || a.GetI() != 4 {
		t.Errorf("n %v", a)
	}
	x := model.Graph.Input[0].Type.GetTensorType()
	if x.GetElemType() != 1 || x.Shape.Dim[0].GetDimParam() != "batch" || x.Shape.Dim[1].GetDimValue() != 3 {
		t.Errorf("input %v", x)
	}
	if _, again := decode(t, linear()); !bytes.Equal(text, again) {
		t.Error("the same calls give other bytes")
	}
}

func TestInitializers(t *testing.T) {
	model, _ := decode(t, linear())
	byName := map[string]*onnxpb.TensorProto{}
	for _, i := range model.Graph.Initializer {
		byName[i.GetName()] = i
	}
	w := byName["w"]
	place := map[string]string{}
	for _, e := range w.ExternalData {
		place[e.GetKey()] = e.GetValue()
	}
	if w.GetDataLocation() != onnxpb.TensorProto_EXTERNAL || !slices.Equal(w.Dims, []int64{3, 2}) ||
		place["location"] != "w.bin" || place["offset"] != "4096" || place["length"] != "24" {
		t.Errorf("w: %v at %v", w, place)
	}
	if s := byName["scalar_1"]; len(s.Dims) != 0 || !slices.Equal(s.FloatData, []float32{0.5}) {
		t.Errorf("scalar: %v", s)
	}
	if s := byName["ints_1"]; !slices.Equal(s.Dims, []int64{2}) || !slices.Equal(s.Int64Data, []int64{1, 2}) {
		t.Errorf("ints: %v", s)
	}
}

func TestMistakesAreReported(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(*onnx.Graph)
		says  string
	}{
		{"no output", func(g *onnx.Graph) { g.Input("a", onnx.Float32, 1) }, "no output"},
		{"an input twice", func(g *onnx.Graph) { g.Input("x", onnx.Int32, 1) }, `"x" is defined twice`},
		{"no name", func(g *onnx.Graph) { g.Input("", onnx.Int32, 1) }, "has no name"},
		{"not defined", func(g *onnx.Graph) { g.Op("Relu", []onnx.Value{"later"}) }, `Relu takes "later"`},
		{"an output that is not there", func(g *onnx.Graph) { g.Output("later", "z", onnx.Float32, 1) }, `Identity takes "later"`},
		{"a dimension of another type", func(g *onnx.Graph) { g.Input("z", onnx.Float32, int64(3)) }, "neither a name nor an int"},
		{"an output's dimension", func(g *onnx.Graph) { g.Output("x", "z", onnx.Float32, 1.5) }, "dimension 1.5"},
		{"an attribute of another type", func(g *onnx.Graph) {
			g.Op("Relu", []onnx.Value{"x"}, onnx.Attr{Name: "alpha", Value: 0.5})
		}, `attribute "alpha" is a float64`},
		{"external data of another size", func(g *onnx.Graph) {
			g.External("w", onnx.Int64, []int{3}, onnx.Location{Length: 12})
		}, "shape [3] needs 24 bytes, its place has 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := onnx.NewGraph("broken")
			x := g.Input("x", onnx.Float32, 1)
			if c.says != "no output" {
				g.Output(x, "y", onnx.Float32, 1)
			}
			c.build(g)
			_, err := g.Model("tests", "1")
			if !errors.Is(err, onnx.ErrGraph) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `"broken"`) {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
		})
	}
	t.Run("all of them", func(t *testing.T) {
		g := onnx.NewGraph("broken")
		g.Op("Relu", []onnx.Value{"one"})
		g.Op("Relu", []onnx.Value{"two"})
		_, err := g.Model("tests", "1")
		for _, part := range []string{`"one"`, `"two"`, "no output"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v; want one saying %s", err, part)
			}
		}
	})
}

// Softmax(x · 2): what is written is a ModelProto, ready for ONNX Runtime.
func ExampleGraph() {
	g := onnx.NewGraph("example")
	x := g.Input("x", onnx.Float32, "batch", 4)
	doubled := g.Op("Mul", []onnx.Value{x, g.Scalar(2)})
	g.Output(g.Op("Softmax", []onnx.Value{doubled}, onnx.Attr{Name: "axis", Value: -1}), "y", onnx.Float32, "batch", 4)
	text, err := g.Model("example", "1")
	if err != nil {
		panic(err)
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(text, model); err != nil {
		panic(err)
	}
	for _, node := range model.Graph.Node {
		fmt.Println(node.GetOpType(), node.Input, node.Output)
	}
	// Output:
	// Mul [x scalar_1] [Mul_1]
	// Softmax [Mul_1] [Softmax_1]
	// Identity [Softmax_1] [y]
}

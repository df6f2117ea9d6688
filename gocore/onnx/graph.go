package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/se600m/se600m-go/gocore/onnx/onnxpb"
	"google.golang.org/protobuf/proto"
)

// ErrGraph: a graph was put together wrongly.
var ErrGraph = errors.New("invalid ONNX graph")

// ElementType is the type of a tensor's elements.
type ElementType int32

// The element types that the models here use.
const (
	Float32  = ElementType(onnxpb.TensorProto_FLOAT)
	Int32    = ElementType(onnxpb.TensorProto_INT32)
	Int64    = ElementType(onnxpb.TensorProto_INT64)
	Int8     = ElementType(onnxpb.TensorProto_INT8)
	Float16  = ElementType(onnxpb.TensorProto_FLOAT16)
	BFloat16 = ElementType(onnxpb.TensorProto_BFLOAT16)
	Uint8    = ElementType(onnxpb.TensorProto_UINT8)
)

// size is how many bytes an element has.
func (e ElementType) size() int64 {
	switch e {
	case Int64:
		return 8
	case Int8, Uint8:
		return 1
	default:
		return 4
	}
}

// Microsoft is the domain of ONNX Runtime's own fused operators.
const Microsoft = "com.microsoft"

const (
	// Opset 21 has QuantizeLinear by blocks; ONNX Runtime knows it since 1.18.
	opsetVersion = 21
	// IR version 10 came with opset 21.
	irVersion = 10
)

// Value is a tensor in a graph, by its unique name. The zero Value is an
// optional input left out.
type Value string

// Location is a tensor's place in an external data file.
type Location struct {
	File           string // relative to the model's folder
	Offset, Length int64  // bytes
}

// Graph is a model under construction.
type Graph struct {
	proto   *onnxpb.GraphProto
	defined map[Value]bool
	counter map[string]int
	errs    []error
}

// NewGraph begins a graph.
func NewGraph(name string) *Graph {
	return &Graph{
		proto:   &onnxpb.GraphProto{Name: &name},
		defined: map[Value]bool{},
		counter: map[string]int{},
	}
}

func (g *Graph) fail(format string, args ...any) {
	g.errs = append(g.errs, fmt.Errorf("onnx: graph %q: "+format+": %w",
		append(append([]any{g.proto.GetName()}, args...), ErrGraph)...))
}

func (g *Graph) define(v Value) {
	if v == "" || g.defined[v] {
		g.fail("value %q is defined twice, or has no name", v)
	}
	g.defined[v] = true
}

func valueInfo(name Value, elem ElementType, dims []any) (*onnxpb.ValueInfoProto, error) {
	shape := &onnxpb.TensorShapeProto{}
	for _, dim := range dims {
		d := &onnxpb.TensorShapeProto_Dimension{}
		switch dim := dim.(type) {
		case string:
			d.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: dim}
		case int:
			d.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(dim)}
		default:
			return nil, fmt.Errorf("value %q: dimension %v is neither a name nor an int", name, dim)
		}
		shape.Dim = append(shape.Dim, d)
	}
	return &onnxpb.ValueInfoProto{
		Name: proto.String(string(name)),
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(elem)), Shape: shape,
		}}},
	}, nil
}

// Input declares an input. Each dimension is an int, or a name if it varies.
func (g *Graph) Input(name Value, elem ElementType, dims ...any) Value {
	g.define(name)
	info, err := valueInfo(name, elem, dims)
	if err != nil {
		g.fail("%v", err)
	}
	g.proto.Input = append(g.proto.Input, info)
	return name
}

// Output declares a value as an output, under a name of its own.
func (g *Graph) Output(v, name Value, elem ElementType, dims ...any) {
	if v != name {
		g.addNode("Identity", "", []Value{v}, []Value{name}, nil)
	}
	info, err := valueInfo(name, elem, dims)
	if err != nil {
		g.fail("%v", err)
	}
	g.proto.Output = append(g.proto.Output, info)
}

// External refers to a tensor in an external data file.
func (g *Graph) External(name Value, elem ElementType, shape []int, at Location) Value {
	size := elem.size()
	for _, n := range shape {
		size *= int64(n)
	}
	if size != at.Length {
		g.fail("external tensor %q: shape %v needs %d bytes, its place has %d", name, shape, size, at.Length)
	}
	g.define(name)
	entry := func(key, value string) *onnxpb.StringStringEntryProto {
		return &onnxpb.StringStringEntryProto{Key: &key, Value: &value}
	}
	g.proto.Initializer = append(g.proto.Initializer, &onnxpb.TensorProto{
		Name: proto.String(string(name)), DataType: proto.Int32(int32(elem)), Dims: int64s(shape),
		DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
		ExternalData: []*onnxpb.StringStringEntryProto{
			entry("location", at.File),
			entry("offset", strconv.FormatInt(at.Offset, 10)),
			entry("length", strconv.FormatInt(at.Length, 10)),
		},
	})
	return name
}

// Ints is a small one-dimensional int64 constant.
func (g *Graph) Ints(values ...int64) Value {
	name := g.unique("ints")
	g.define(name)
	g.proto.Initializer = append(g.proto.Initializer, &onnxpb.TensorProto{
		Name: proto.String(string(name)), DataType: proto.Int32(int32(Int64)),
		Dims: []int64{int64(len(values))}, Int64Data: slices.Clone(values),
	})
	return name
}

// Scalar is a float32 constant without dimensions.
func (g *Graph) Scalar(value float32) Value {
	name := g.unique("scalar")
	g.define(name)
	g.proto.Initializer = append(g.proto.Initializer, &onnxpb.TensorProto{
		Name: proto.String(string(name)), DataType: proto.Int32(int32(Float32)), FloatData: []float32{value},
	})
	return name
}

// Byte is a constant of 8 bits without dimensions.
func (g *Graph) Byte(elem ElementType, value int32) Value {
	name := g.unique("byte")
	g.define(name)
	g.proto.Initializer = append(g.proto.Initializer, &onnxpb.TensorProto{
		Name: proto.String(string(name)), DataType: proto.Int32(int32(elem)), Int32Data: []int32{value},
	})
	return name
}

// Attr is an attribute of a node: an int, a float32 or a list of ints.
type Attr struct {
	Name  string
	Value any
}

// Op adds a node of the standard operators with one output.
func (g *Graph) Op(op string, inputs []Value, attrs ...Attr) Value {
	return g.Ops(op, inputs, 1, attrs...)[0]
}

// Ops adds a node of the standard operators with several outputs.
func (g *Graph) Ops(op string, inputs []Value, nOutputs int, attrs ...Attr) []Value {
	outputs := make([]Value, nOutputs)
	for i := range outputs {
		outputs[i] = g.unique(op)
	}
	g.addNode(op, "", inputs, outputs, attrs)
	return outputs
}

// Fused adds a node of ONNX Runtime's own operators with one output.
func (g *Graph) Fused(op string, inputs []Value, attrs ...Attr) Value {
	out := g.unique(op)
	g.addNode(op, Microsoft, inputs, []Value{out}, attrs)
	return out
}

func (g *Graph) unique(stem string) Value {
	g.counter[stem]++
	return Value(fmt.Sprintf("%s_%d", stem, g.counter[stem]))
}

func (g *Graph) addNode(op, domain string, inputs, outputs []Value, attrs []Attr) {
	node := &onnxpb.NodeProto{OpType: &op, Name: proto.String("make_" + string(outputs[0]))}
	if domain != "" {
		node.Domain = &domain
	}
	for _, in := range inputs {
		if in != "" && !g.defined[in] {
			g.fail("%s takes %q, which is not defined before it", op, in)
		}
		node.Input = append(node.Input, string(in))
	}
	for _, out := range outputs {
		g.define(out)
		node.Output = append(node.Output, string(out))
	}
	for _, attr := range attrs {
		a := &onnxpb.AttributeProto{Name: proto.String(attr.Name)}
		switch value := attr.Value.(type) {
		case int:
			a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), proto.Int64(int64(value))
		case float32:
			a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), proto.Float32(value)
		case []int:
			a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), int64s(value)
		default:
			g.fail("%s: attribute %q is a %T", op, attr.Name, value)
		}
		node.Attribute = append(node.Attribute, a)
	}
	g.proto.Node = append(g.proto.Node, node)
}

func int64s(values []int) []int64 {
	wide := make([]int64, len(values))
	for i, v := range values {
		wide[i] = int64(v)
	}
	return wide
}

// Model encodes the finished graph. The error wraps [ErrGraph] and lists every
// mistake made on the way.
func (g *Graph) Model(producer, version string) ([]byte, error) {
	if len(g.proto.Output) == 0 {
		g.fail("no output")
	}
	if len(g.errs) > 0 {
		return nil, errors.Join(g.errs...)
	}
	model := &onnxpb.ModelProto{
		IrVersion:       proto.Int64(irVersion),
		ProducerName:    &producer,
		ProducerVersion: &version,
		Graph:           g.proto,
		OpsetImport: []*onnxpb.OperatorSetIdProto{
			{Domain: proto.String(""), Version: proto.Int64(opsetVersion)},
			{Domain: proto.String(Microsoft), Version: proto.Int64(1)},
		},
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(model)
}

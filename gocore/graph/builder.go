package graph

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// layerNormEps is torch's default, which the reference uses throughout.
const layerNormEps = float32(1e-5)

// builder puts one of a model's graphs together.
type builder struct {
	*onnx.Graph
	*modeldir.Config
	weights modeldir.Weights
	form    modeldir.Form
	// element is what is computed with from here on.
	element modeldir.Element
	used    map[string]onnx.Value
	missing []string
}

func newBuilder(name string, config *modeldir.Config, weights modeldir.Weights, form modeldir.Form) *builder {
	return &builder{
		Graph: onnx.NewGraph(name), Config: config, weights: weights, form: form, element: modeldir.Float32,
		used: map[string]onnx.Value{},
	}
}

var elements = map[modeldir.Element]onnx.ElementType{
	modeldir.Float32: onnx.Float32, modeldir.Float16: onnx.Float16, modeldir.BFloat16: onnx.BFloat16,
	modeldir.Int32: onnx.Int32, modeldir.Int8: onnx.Int8,
}

// compute has all that follows computed with elements of a type, and gives x so.
func (g *builder) compute(element modeldir.Element, x onnx.Value) onnx.Value {
	if element == g.element {
		return x
	}
	g.element = element
	return g.Op("Cast", []onnx.Value{x}, onnx.Attr{Name: "to", Value: int(elements[element])})
}

// weight is a tensor of the directory's files in the type that is computed with.
// ONNX Runtime rounds it when the graph is opened.
func (g *builder) weight(name string) onnx.Value { return g.rounded(name, g.stored(name)) }

// rounded is a float32 tensor in the type that is computed with, under a name.
func (g *builder) rounded(name string, v onnx.Value) onnx.Value {
	if g.element == modeldir.Float32 {
		return v
	}
	key := name + "." + string(g.element)
	if _, has := g.used[key]; !has {
		g.used[key] = g.Op("Cast", []onnx.Value{v}, onnx.Attr{Name: "to", Value: int(elements[g.element])})
	}
	return g.used[key]
}

// stored refers to a tensor in the directory's files.
func (g *builder) stored(name string) onnx.Value {
	if v, has := g.used[name]; has {
		return v
	}
	w, has := g.weights[name]
	if !has {
		g.missing = append(g.missing, name)
	}
	v := g.External(onnx.Value(name), elements[w.Element], w.Shape, onnx.Location{File: w.File, Offset: w.Offset, Length: w.Size()})
	g.used[name] = v
	return v
}

func dims(t modeldir.Tensor) []any {
	shape := make([]any, len(t.Shape))
	for i, d := range t.Shape {
		if shape[i] = d.Size; d.Name != "" {
			shape[i] = d.Name
		}
	}
	return shape
}

// model encodes the finished graph.
func (g *builder) model() ([]byte, error) {
	if len(g.missing) > 0 {
		return nil, fmt.Errorf("graph: the model has no tensors %q: %w", g.missing, modeldir.ErrNotAModel)
	}
	return g.Model(modeldir.Writer, modeldir.WriterVersion)
}

// inputs declares a variant's inputs and gives them in order.
func (g *builder) inputs(v modeldir.Variant) (values []onnx.Value) {
	for _, t := range g.Inputs(v) {
		values = append(values, g.Input(onnx.Value(t.Name), elements[t.Element], dims(t)...))
	}
	return values
}

// outputs declares a variant's outputs, from values by their names.
func (g *builder) outputs(v modeldir.Variant, values map[string]onnx.Value) {
	for _, t := range g.Outputs(v) {
		g.Output(values[t.Name], onnx.Value(t.Name), elements[t.Element], dims(t)...)
	}
}

func (g *builder) matMul(x onnx.Value, weight string) onnx.Value {
	return g.Op("MatMul", []onnx.Value{x, g.weight(weight)})
}

// product is a product with one of a layer's weights.
func (g *builder) product(x onnx.Value, weight string) onnx.Value { return g.products(x, weight)[0] }

// products are the products of the same tokens with some of a layer's weights.
func (g *builder) products(x onnx.Value, weights ...string) (products []onnx.Value) {
	if g.form.Layers == modeldir.Int8 {
		return g.int8Products(x, weights)
	}
	for _, weight := range weights {
		products = append(products, g.matMul(x, weight))
	}
	return products
}

func (g *builder) linear(x onnx.Value, name string) onnx.Value {
	return g.Op("Add", []onnx.Value{g.matMul(x, name+".weight"), g.weight(name + ".bias")})
}

func (g *builder) layerNorm(x onnx.Value, name string) onnx.Value {
	return g.Op("LayerNormalization", []onnx.Value{x, g.weight(name + ".weight"), g.weight(name + ".bias")},
		onnx.Attr{Name: "axis", Value: -1}, onnx.Attr{Name: "epsilon", Value: layerNormEps})
}

// addNorm is LayerNorm(x + y + bias). On the CPU ONNX Runtime's fused
// SkipLayerNormalization takes three times as long as these three operators.
func (g *builder) addNorm(x, y, bias onnx.Value, norm string) onnx.Value {
	if g.form.FusedNorm {
		inputs := []onnx.Value{y, x, g.weight(norm + ".weight"), g.weight(norm + ".bias"), bias}
		return g.Fused("SkipLayerNormalization", inputs, onnx.Attr{Name: "epsilon", Value: layerNormEps})
	}
	y = g.Op("Add", []onnx.Value{y, bias})
	return g.layerNorm(g.Op("Add", []onnx.Value{y, x}), norm)
}

// batchOf is the number of sentences, as a one-element list.
func (g *builder) batchOf(x onnx.Value) onnx.Value {
	return g.Op("Shape", []onnx.Value{x}, onnx.Attr{Name: "start", Value: 0}, onnx.Attr{Name: "end", Value: 1})
}

// repeatRow gives a table row to every sentence: [B, 1, width].
func (g *builder) repeatRow(row, like onnx.Value, width int) onnx.Value {
	shape := g.Op("Concat", []onnx.Value{g.batchOf(like), g.Ints(1, int64(width))}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{row, shape})
}

// concat joins along the tokens.
func (g *builder) concat(parts ...onnx.Value) onnx.Value {
	return g.Op("Concat", parts, onnx.Attr{Name: "axis", Value: 1})
}

// slice takes tokens from … to-1 of every sentence.
func (g *builder) slice(x onnx.Value, from, to int64) onnx.Value {
	return g.Op("Slice", []onnx.Value{x, g.Ints(from), g.Ints(to), g.Ints(1)})
}

// column is [B, S] as [B, S, 1].
func (g *builder) column(x onnx.Value) onnx.Value {
	return g.Op("Unsqueeze", []onnx.Value{x, g.Ints(-1)})
}

// ones is [B, 1, 1] of ones.
func (g *builder) ones(like onnx.Value) onnx.Value {
	shape := g.Op("Concat", []onnx.Value{g.batchOf(like), g.Ints(1, 1)}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{g.Scalar(1), shape})
}

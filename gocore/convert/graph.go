package convert

import (
	"fmt"
	"math"
	"os"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// layerNormEps is torch's default, which the reference uses throughout.
const layerNormEps = float32(1e-5)

// graph builds one of a model's graphs over weights that are already placed.
type graph struct {
	*onnx.Graph
	*source
	placed weights
	used   map[string]onnx.Value
	// inInt8: products of layers are made in 8 bits.
	inInt8 bool
	// standard leaves out ONNX Runtime's own fused operators.
	standard bool
	// layersPerPart, if not zero, is how many layers a provider may run without
	// a pause.
	layersPerPart int
}

func newGraph(variant modeldir.Variant, s *source, placed weights) *graph {
	g := &graph{
		Graph: onnx.NewGraph(string(variant)), source: s, placed: placed, used: map[string]onnx.Value{},
		inInt8: variant.IsInt8(),
	}
	if variant.IsOpenVINO() {
		g.standard, g.layersPerPart = true, s.dims.LayersPerPart()
	}
	return g
}

// weight refers to a placed tensor.
func (g *graph) weight(name string) onnx.Value {
	if v, has := g.used[name]; has {
		return v
	}
	w := g.placed[name] // one that is not placed has no length, which Model reports
	v := g.External(onnx.Value(name), w.elem, w.shape, w.at)
	g.used[name] = v
	return v
}

// writerVersion is the producer that model files name.
const writerName, writerVersion = "se600m-go", "1"

func (g *graph) write(path string) error {
	model, err := g.Model(writerName, writerVersion)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, model, 0o644); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	return nil
}

func (g *graph) matMul(x onnx.Value, weight string) onnx.Value {
	return g.Op("MatMul", []onnx.Value{x, g.weight(weight)})
}

// product is a product with one of a layer's weights.
func (g *graph) product(x onnx.Value, weight string) onnx.Value { return g.products(x, weight)[0] }

// products are the products of the same tokens with some of a layer's weights.
func (g *graph) products(x onnx.Value, weights ...string) (products []onnx.Value) {
	if g.inInt8 {
		return g.int8Products(x, weights)
	}
	for _, weight := range weights {
		products = append(products, g.matMul(x, weight))
	}
	return products
}

func (g *graph) linear(x onnx.Value, name string) onnx.Value {
	return g.Op("Add", []onnx.Value{g.matMul(x, name+".weight"), g.weight(name + ".bias")})
}

func (g *graph) layerNorm(x onnx.Value, name string) onnx.Value {
	return g.Op("LayerNormalization", []onnx.Value{x, g.weight(name + ".weight"), g.weight(name + ".bias")},
		onnx.Attr{Name: "axis", Value: -1}, onnx.Attr{Name: "epsilon", Value: layerNormEps})
}

// addNorm is LayerNorm(x + y + bias). On the CPU ONNX Runtime's fused
// SkipLayerNormalization takes three times as long as these three operators.
func (g *graph) addNorm(x, y onnx.Value, bias, norm string) onnx.Value {
	y = g.Op("Add", []onnx.Value{y, g.weight(bias)})
	return g.layerNorm(g.Op("Add", []onnx.Value{y, x}), norm)
}

// projectionFromProduct finishes the projection of W·e:
// SiLU(LayerNorm(W·e + b)).
func (g *graph) projectionFromProduct(product onnx.Value) onnx.Value {
	x := g.Op("Add", []onnx.Value{product, g.weight("encoder.0.bias")})
	x = g.layerNorm(x, "encoder.1")
	return g.Op("Mul", []onnx.Value{x, g.Op("Sigmoid", []onnx.Value{x})})
}

// tokenFromProduct is the projection times sqrt(emsize), as tokens have it.
func (g *graph) tokenFromProduct(product onnx.Value) onnx.Value {
	return g.Op("Mul", []onnx.Value{g.projectionFromProduct(product), g.Scalar(float32(math.Sqrt(float64(g.dims.EmSize))))})
}

// batchOf is the number of sentences, as a one-element list.
func (g *graph) batchOf(x onnx.Value) onnx.Value {
	return g.Op("Shape", []onnx.Value{x}, onnx.Attr{Name: "start", Value: 0}, onnx.Attr{Name: "end", Value: 1})
}

// repeatRow gives a table row to every sentence: [B, 1, width].
func (g *graph) repeatRow(row, like onnx.Value, width int) onnx.Value {
	shape := g.Op("Concat", []onnx.Value{g.batchOf(like), g.Ints(1, int64(width))}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{row, shape})
}

// concat joins along the tokens.
func (g *graph) concat(parts ...onnx.Value) onnx.Value {
	return g.Op("Concat", parts, onnx.Attr{Name: "axis", Value: 1})
}

// slice takes tokens from … to-1 of every sentence.
func (g *graph) slice(x onnx.Value, from, to int64) onnx.Value {
	return g.Op("Slice", []onnx.Value{x, g.Ints(from), g.Ints(to), g.Ints(1)})
}

// column is [B, S] as [B, S, 1].
func (g *graph) column(x onnx.Value) onnx.Value {
	return g.Op("Unsqueeze", []onnx.Value{x, g.Ints(-1)})
}

// ones is [B, 1, 1] of ones.
func (g *graph) ones(like onnx.Value) onnx.Value {
	shape := g.Op("Concat", []onnx.Value{g.batchOf(like), g.Ints(1, 1)}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{g.Scalar(1), shape})
}

// factors are the numbers that the "scale" encoding multiplies the looked-up
// embeddings with, [B, S, 1]: a token's value, 1 for slot 0.
func (g *graph) factors(values onnx.Value) onnx.Value {
	return g.concat(g.ones(values), g.slice(g.column(values), 1, math.MaxInt32))
}

// softBins is the learned embedding of the values, [B, S, emsize]. A cell has
// few different values (one for each count), so each is embedded once: in narrow
// models the hidden layer, 512 wide, would take as long as a transformer layer's
// products.
func (g *graph) softBins(values onnx.Value) onnx.Value {
	if g.standard {
		return g.softBinsOf(g.column(values))
	}
	found := g.Ops("Unique", []onnx.Value{values}, 3, onnx.Attr{Name: "sorted", Value: 1})
	// One row alone may be multiplied by another kernel, which rounds differently.
	zero := g.Op("Unsqueeze", []onnx.Value{g.Scalar(0), g.Ints(0)})
	different, place := g.Op("Concat", []onnx.Value{found[0], zero}, onnx.Attr{Name: "axis", Value: 0}), found[2]
	place = g.Op("Reshape", []onnx.Value{place, g.Op("Shape", []onnx.Value{values})})
	return g.Op("Gather", []onnx.Value{g.softBinsOf(g.column(different)), place})
}

// softBinsOf embeds single values, [..., 1].
func (g *graph) softBinsOf(values onnx.Value) onnx.Value {
	h := g.linear(values, "count_encoder.0")
	h = g.Op("LeakyRelu", []onnx.Value{h}, onnx.Attr{Name: "alpha", Value: float32(0.01)})
	bins := g.Op("Softmax", []onnx.Value{g.linear(h, "count_encoder.2")}, onnx.Attr{Name: "axis", Value: -1})
	return g.matMul(bins, "bin_encoder.weight")
}

// foldedTokens are the tokens that enter the first layer, [B, T, emsize], from
// the folded table; T is S, and one more with a dataset token.
func (g *graph) foldedTokens(tokens, values onnx.Value) onnx.Value {
	table := g.weight("folded")
	x := g.Op("Gather", []onnx.Value{table, tokens})
	dataset := func() onnx.Value {
		row := g.Op("Gather", []onnx.Value{table, g.Ints(int64(g.dims.NGenes) + 1)})
		return g.repeatRow(row, tokens, g.dims.EmSize)
	}
	switch g.Config.ExpressionEncoding {
	case softBins:
		x = g.Op("Add", []onnx.Value{x, g.softBins(values)})
	case scale:
		x = g.Op("Mul", []onnx.Value{x, g.factors(values)})
		if g.dims.DatasetDim > 0 {
			x = g.concat(x, dataset())
		}
		return g.tokenFromProduct(x)
	}
	if g.dims.DatasetDim > 0 {
		x = g.concat(x, dataset())
	}
	return x
}

// attention is the attention of every token to every token, before out_proj.
func (g *graph) attention(x, bias onnx.Value, prefix string) onnx.Value {
	if g.standard {
		return g.standardAttention(x, x, bias, prefix)
	}
	inputs := append(g.products(x, prefix+"q", prefix+"k", prefix+"v"), g.weight(prefix+"qkv_proj.bias"))
	if bias != "" {
		inputs = append(inputs, "", bias)
	}
	return g.Fused("MultiHeadAttention", inputs, onnx.Attr{Name: "num_heads", Value: g.dims.NHead})
}

func (g *graph) standardAttention(queries, x, bias onnx.Value, prefix string) onnx.Value {
	d, width := int64(g.dims.EmSize), g.dims.EmSize/g.dims.NHead
	biases := g.weight(prefix + "qkv_proj.bias")
	heads := func(x onnx.Value, part string, position int64, order []int) onnx.Value {
		own := g.Op("Slice", []onnx.Value{biases, g.Ints(position * d), g.Ints((position + 1) * d), g.Ints(0)})
		v := g.Op("Add", []onnx.Value{g.matMul(x, prefix+part), own})
		v = g.Op("Reshape", []onnx.Value{v, g.Ints(0, 0, int64(g.dims.NHead), int64(width))})
		return g.Op("Transpose", []onnx.Value{v}, onnx.Attr{Name: "perm", Value: order})
	}
	q := heads(queries, "q", 0, []int{0, 2, 1, 3})
	k := heads(x, "k", 1, []int{0, 2, 3, 1})
	v := heads(x, "v", 2, []int{0, 2, 1, 3})
	scores := g.Op("Mul", []onnx.Value{g.Op("MatMul", []onnx.Value{q, k}), g.Scalar(float32(1 / math.Sqrt(float64(width))))})
	if bias != "" {
		scores = g.Op("Add", []onnx.Value{scores, bias})
	}
	scores = g.Op("Softmax", []onnx.Value{scores}, onnx.Attr{Name: "axis", Value: -1})
	mixed := g.Op("Transpose", []onnx.Value{g.Op("MatMul", []onnx.Value{scores, v})}, onnx.Attr{Name: "perm", Value: []int{0, 2, 1, 3}})
	return g.Op("Reshape", []onnx.Value{mixed, g.Ints(0, 0, d)})
}

// layer is one post-norm transformer layer.
func (g *graph) layer(i int, x, bias onnx.Value) onnx.Value {
	return g.afterAttention(i, x, g.attention(x, bias, layerPrefix(i)))
}

// afterAttention is the rest of a layer.
func (g *graph) afterAttention(i int, x, attention onnx.Value) onnx.Value {
	prefix := layerPrefix(i)
	h := g.addNorm(x, g.product(attention, prefix+"out_proj.weight"), prefix+"out_proj.bias", prefix+"norm1")
	f := g.biasGelu(g.product(h, prefix+"linear1.weight"), prefix+"linear1.bias")
	return g.addNorm(h, g.product(f, prefix+"linear2.weight"), prefix+"linear2.bias", prefix+"norm2")
}

// biasGelu is the exact Gelu (erf) of x + bias.
func (g *graph) biasGelu(x onnx.Value, bias string) onnx.Value {
	inputs := []onnx.Value{x, g.weight(bias)}
	if g.standard {
		return g.Op("Gelu", []onnx.Value{g.Op("Add", inputs)}) // erf by default
	}
	return g.Fused("BiasGelu", inputs)
}

// pause ends a part after some layer. OpenVINO makes one node of all that it
// can run, and a run ends early only between nodes; SampleOp, an echo, is not
// among what it can.
func (g *graph) pause(layer int, x onnx.Value) onnx.Value {
	if n := layer + 1; g.layersPerPart == 0 || n%g.layersPerPart != 0 || n == g.dims.NLayers {
		return x
	}
	return g.Fused("SampleOp", []onnx.Value{x})
}

// skipBlock finishes a skip block whose first Linear gave inside:
// LayerNorm(x + dense(ReLU(inside))).
func (g *graph) skipBlock(x, inside onnx.Value, name string) onnx.Value {
	h := g.Op("Relu", []onnx.Value{inside})
	return g.addNorm(x, g.matMul(h, name+".dense.weight"), name+".dense.bias", name+".layer_norm")
}

// head is the decoder head on tokens.
func (g *graph) head(x onnx.Value) onnx.Value {
	return g.linear(g.skipBlock(x, g.linear(x, "decoder.0.intermediate_dense"), "decoder.0"), "decoder.1")
}

// attentionBias turns log-multiplicities, [B, S], into what is added to the
// attention scores of T keys, as [B, 1, 1, T].
func (g *graph) attentionBias(logMultiplicity onnx.Value) onnx.Value {
	bias := logMultiplicity
	if g.dims.DatasetDim > 0 {
		shape := g.Op("Concat", []onnx.Value{g.batchOf(bias), g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
		bias = g.concat(bias, g.Op("Expand", []onnx.Value{g.Scalar(0), shape}))
	}
	return g.Op("Unsqueeze", []onnx.Value{bias, g.Ints(1, 2)})
}

// forEveryToken repeats a bias for the T queries of x, [B, T, emsize], which
// ONNX Runtime's fused operator does not do by itself.
func (g *graph) forEveryToken(bias, x onnx.Value) onnx.Value {
	if g.standard {
		return bias
	}
	nTokens := g.Op("Shape", []onnx.Value{x}, onnx.Attr{Name: "start", Value: 1}, onnx.Attr{Name: "end", Value: 2})
	shape := g.Op("Concat", []onnx.Value{g.Ints(1, 1), nTokens, g.Ints(1)}, onnx.Attr{Name: "axis", Value: 0})
	return g.Op("Expand", []onnx.Value{bias, shape})
}

// embedGraph is the dense or the weighted graph, or its twin. Its outputs are the head's
// vectors at [CLS], not normalised, [B, output_dim], and the dataset
// embeddings, [B, dataset_dim].
func (s *source) embedGraph(variant modeldir.Variant, placed weights) *graph {
	g := newGraph(variant, s, placed)
	tokens := g.Input("gene_indices", onnx.Int32, "batch", "length")
	values := g.Input("expression_values", onnx.Float32, "batch", "length")
	x := g.foldedTokens(tokens, values)
	var bias, biasAll onnx.Value
	if variant.Base() == modeldir.Weighted {
		bias = g.attentionBias(g.Input("log_multiplicity", onnx.Float32, "batch", "length"))
		biasAll = g.forEveryToken(bias, x)
	}
	last := g.dims.NLayers - 1
	for i := range last {
		x = g.pause(i, g.layer(i, x, biasAll))
	}
	cls := g.slice(x, 0, 1)
	other := cls
	if g.dims.DatasetDim > 0 {
		other = g.slice(x, -1, math.MaxInt32)
	}
	read := g.concat(cls, other)
	g.inInt8 = false // few tokens cost next to nothing
	// The OpenVINO of onnxruntime-openvino 1.24.1 fails on attentionOfRead in bf16.
	attend := g.attentionOfRead
	if g.standard {
		attend = g.standardAttention
	}
	g.outputs(g.head(g.afterAttention(last, read, attend(read, x, bias, layerPrefix(last)))))
	return g
}

// contextualGraph is the weighted graph up to the last layer, which it runs on
// every token, or its twin. Its output is the vector of every slot, [B, S,
// emsize].
func (s *source) contextualGraph(variant modeldir.Variant, placed weights) *graph {
	g := newGraph(variant, s, placed)
	tokens := g.Input("gene_indices", onnx.Int32, "batch", "length")
	values := g.Input("expression_values", onnx.Float32, "batch", "length")
	logMultiplicity := g.Input("log_multiplicity", onnx.Float32, "batch", "length")
	x := g.foldedTokens(tokens, values)
	bias := g.forEveryToken(g.attentionBias(logMultiplicity), x)
	for i := range g.dims.NLayers {
		x = g.pause(i, g.layer(i, x, bias))
	}
	if g.dims.DatasetDim > 0 {
		x = g.slice(x, 0, -1)
	}
	g.Output(x, "contextual", onnx.Float32, "batch", "length", g.dims.EmSize)
	return g
}

// outputs declares the embedding and the dataset embedding, from the head's
// vectors: [CLS] first, the dataset token last.
func (g *graph) outputs(head onnx.Value) {
	at := func(x onnx.Value, position int64) onnx.Value {
		return g.Op("Squeeze", []onnx.Value{g.Op("Gather", []onnx.Value{x, g.Ints(position)},
			onnx.Attr{Name: "axis", Value: 1}), g.Ints(1)})
	}
	g.Output(at(head, 0), "cls", onnx.Float32, "batch", g.dims.OutputDim)
	if g.dims.DatasetDim > 0 {
		// Of every row, then one picked: see nRead.
		datasets := g.linear(head, "dataset_embedder")
		g.Output(at(datasets, -1), "dataset_embedding", onnx.Float32, "batch", g.dims.DatasetDim)
	}
}

// lookUp is the row of each token in the checkpoint's own table, of unit length,
// and the learned [CLS] wherever that stands: in slot 0, and in slots of
// padding. The table has no row for it.
func (g *graph) lookUp(tokens onnx.Value) onnx.Value {
	wide := g.Op("Cast", []onnx.Value{tokens}, onnx.Attr{Name: "to", Value: int(onnx.Int64)})
	row := g.Op("Min", []onnx.Value{wide, g.Ints(int64(g.dims.NGenes) - 1)})
	genes := g.Op("Gather", []onnx.Value{g.weight("gene_table"), row})
	length := g.Op("ReduceL2", []onnx.Value{genes, g.Ints(-1)})
	genes = g.Op("Div", []onnx.Value{genes, g.Op("Max", []onnx.Value{length, g.Scalar(1e-12)})})
	isCLS := g.column(g.Op("Equal", []onnx.Value{wide, g.Ints(int64(g.dims.NGenes))}))
	return g.Op("Where", []onnx.Value{isCLS, g.weight("cls_token"), genes})
}

// traceGraph leaves out nothing: it looks up the checkpoint's own gene table,
// projects every token, runs every layer and the head on every token, and has
// every stage as an output. It is made of standard operators alone, so that it
// also checks the fused ones.
func (s *source) traceGraph(placed weights) *graph {
	g := newGraph(modeldir.Trace, s, placed)
	g.standard = true
	d := g.dims
	tokens := g.Input("gene_indices", onnx.Int32, "batch", "length")
	values := g.Input("expression_values", onnx.Float32, "batch", "length")
	logMultiplicity := g.Input("log_multiplicity", onnx.Float32, "batch", "length")

	e := g.lookUp(tokens)
	g.Output(e, "gene_embedding", onnx.Float32, "batch", "length", d.TokenDim)
	if g.Config.ExpressionEncoding == scale {
		e = g.Op("Mul", []onnx.Value{e, g.factors(values)})
		g.Output(e, "scaled_gene_embedding", onnx.Float32, "batch", "length", d.TokenDim)
	}
	if d.DatasetDim > 0 {
		e = g.concat(e, g.repeatRow(g.weight("dataset_token"), tokens, d.TokenDim))
	}
	x := g.tokenFromProduct(g.matMul(e, "encoder.0.weight"))
	g.Output(x, "projection", onnx.Float32, "batch", "tokens", d.EmSize)
	if g.Config.ExpressionEncoding == softBins {
		bins := g.softBins(values)
		if d.DatasetDim > 0 {
			shape := g.Op("Concat", []onnx.Value{g.batchOf(values), g.Ints(1, int64(d.EmSize))}, onnx.Attr{Name: "axis", Value: 0})
			bins = g.concat(bins, g.Op("Expand", []onnx.Value{g.Scalar(0), shape}))
		}
		x = g.Op("Add", []onnx.Value{x, bins})
	}
	g.Output(x, "tokens", onnx.Float32, "batch", "tokens", d.EmSize)
	bias := g.attentionBias(logMultiplicity)
	for i := range d.NLayers {
		x = g.layer(i, x, bias)
		g.Output(x, onnx.Value(fmt.Sprintf("layer_%d", i+1)), onnx.Float32, "batch", "tokens", d.EmSize)
	}
	head := g.head(x)
	g.Output(head, "head", onnx.Float32, "batch", "tokens", d.OutputDim)
	g.outputs(head)
	return g
}

package modeldir

// Element is the type of a tensor's elements.
type Element string

// The element types.
const (
	Float32  Element = "float32"
	Float16  Element = "float16"
	BFloat16 Element = "bfloat16"
	Int32    Element = "int32"
	Int8     Element = "int8"
)

// size is how many bytes an element has.
func (e Element) size() int64 {
	if e == Int8 {
		return 1
	}
	return 4
}

// IndexFile says where the weights in an element type lie (see [Index]).
func (e Element) IndexFile() string {
	if e == Float32 {
		return "weights.json"
	}
	return string(e) + ".json"
}

// LayersFile holds the weights of the layers in an element type.
func (e Element) LayersFile() string {
	if e == Float32 {
		return WeightsFile
	}
	return string(e) + ".bin"
}

// Form is how a graph is put together for the execution provider that runs it.
// All forms compute the same, but for what rounding to the element type changes.
type Form struct {
	// Layers is what the layers' weights are multiplied in. Weights in 8 bits are
	// stored beside those in float32; weights in 16 bits are rounded when a graph is
	// opened.
	Layers Element
	// StandardOperators leaves out ONNX Runtime's own fused operators.
	StandardOperators bool
	// PlainBins embeds the expression value of every token. Otherwise each of the
	// different values is embedded once, which needs the operator Unique.
	PlainBins bool
	// Folded has the scale of attention in the weights of the queries, leaves out
	// the keys' bias, which no softmax sees, and adds the values' to out_proj's.
	Folded bool
	// FusedNorm adds and normalises in one operator of ONNX Runtime's own.
	FusedNorm bool
	// WholeRead has the tokens that are read at the end attend as all tokens of the
	// other layers do. Otherwise they attend in fewer operations, whose products of
	// two computed matrices ONNX Runtime adds up in an order that depends on the
	// number of threads, and on how many sentences are in a batch.
	WholeRead bool
	// LayersPerPart, if not zero, is how many layers make a part. A provider makes
	// one node of a part, and a run ends early only between nodes.
	LayersPerPart int
}

// In is the form that a variant takes where f is wanted. The trace, which also
// checks the fused operators, has one form, and the decoder one for each element
// type that is computed with.
func (f Form) In(v Variant) Form {
	switch v {
	case Trace:
		return Form{Layers: Float32, StandardOperators: true, PlainBins: true}
	case Decoder:
		return Form{Layers: f.Computed(), StandardOperators: true, PlainBins: true}
	}
	return f
}

// Computed is the element type of the tokens between the layers.
func (f Form) Computed() Element {
	if f.Layers == Int8 {
		return Float32
	}
	return f.Layers
}

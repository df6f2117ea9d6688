package convert

import (
	"context"
	"math"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// maxInt8 is what the largest absolute value of a channel or a token becomes.
const maxInt8 = 127

// int8Products multiplies in 8 bits. A weight has a scale an output channel, a
// token one of its own, so that no token's numbers depend on its neighbours.
// Sums are whole numbers, the same in whatever order.
func (g *graph) int8Products(x onnx.Value, weights []string) (products []onnx.Value) {
	tokens, scale := g.tokensInInt8(x, g.placed[weights[0]].shape[0])
	for _, name := range weights {
		// The operator knows no scale a token: 1 here, and the scale afterwards.
		y := g.Fused("MatMulIntegerToFloat", []onnx.Value{
			tokens, g.weight(name + int8Suffix), g.Scalar(1), g.weight(name + scaleSuffix),
			g.Byte(onnx.Uint8, int8Zero), g.Byte(onnx.Int8, 0),
		})
		products = append(products, g.Op("Mul", []onnx.Value{y, scale}))
	}
	return products
}

// int8Zero is the whole number that 0 becomes: ONNX Runtime's kernels take
// tokens without a sign.
const int8Zero = 128

// tokensInInt8 rounds tokens of a width to whole numbers, and gives a scale
// each, [B, T, 1].
func (g *graph) tokensInInt8(x onnx.Value, width int) (whole, scale onnx.Value) {
	largest := g.Op("Max", []onnx.Value{
		g.Op("ReduceMax", []onnx.Value{x, g.Ints(-1)}),
		g.Op("Neg", []onnx.Value{g.Op("ReduceMin", []onnx.Value{x, g.Ints(-1)})}),
		g.Scalar(1e-20), // for a token of zeros
	})
	scale = g.Op("Mul", []onnx.Value{largest, g.Scalar(1. / maxInt8)})
	zero := g.Op("Expand", []onnx.Value{g.Byte(onnx.Uint8, int8Zero), g.Op("Shape", []onnx.Value{scale})})
	whole = g.Op("QuantizeLinear", []onnx.Value{x, scale, zero},
		onnx.Attr{Name: "axis", Value: -1}, onnx.Attr{Name: "block_size", Value: width})
	return whole, scale
}

// A layer's weights in 8 bits, and their scales, are placed under the weight's
// name and these.
const (
	int8Suffix  = ".int8"
	scaleSuffix = ".scale"
)

// writeInt8 writes int8.bin: the weights of all layers in 8 bits.
func (s *source) writeInt8(ctx context.Context, dir string, placed weights, progress func(int64)) (info modeldir.FileInfo, err error) {
	out, err := onnx.CreateWeights(filepath.Join(dir, modeldir.Int8File))
	if err != nil {
		return info, err
	}
	w := &weightsWriter{s, out, placed, progress}
	var steps []func() error
	for i := range s.dims.NLayers {
		prefix := layerPrefix(i)
		steps = append(steps, func() error { return w.int8Linear(prefix+"qkv_proj.weight", prefix+"q", prefix+"k", prefix+"v") })
		for _, name := range []string{"out_proj", "linear1", "linear2"} {
			steps = append(steps, func() error { return w.int8Linear(prefix+name+".weight", prefix+name+".weight") })
		}
	}
	return finish(ctx, out, steps)
}

// int8Bytes is how large the tensors in int8.bin are: weights, and scales.
func (s *source) int8Bytes() int64 {
	d, hidden := int64(s.dims.EmSize), int64(s.dims.DHid)
	return int64(s.dims.NLayers) * (4*d*d + 2*d*hidden + 4*(5*d+hidden))
}

// int8Linear puts a Linear layer's weight in 8 bits, [in, out], with a scale an
// output channel, [out]; in several parts if it has several names.
func (w *weightsWriter) int8Linear(tensor string, names ...string) error {
	values, err := w.read(tensor)
	if err != nil {
		return err
	}
	shape := w.Tensors[tensor].Shape
	out, in := shape[0]/len(names), shape[1]
	for k, name := range names {
		whole, scales := quantise(values[k*out*in:(k+1)*out*in], out, in)
		at, err := w.out.Int8(transpose(whole, out, in))
		if err != nil {
			return err
		}
		w.placed[name+int8Suffix] = weight{onnx.Int8, []int{in, out}, at}
		w.progress(at.Length)
		if err := w.put(name+scaleSuffix, scales, out); err != nil {
			return err
		}
	}
	return nil
}

// quantise rounds every row to whole numbers from -127 to 127 times a scale.
func quantise(values []float32, rows, columns int) (whole []int8, scales []float32) {
	whole, scales = make([]int8, len(values)), make([]float32, rows)
	for r := range rows {
		row := values[r*columns : (r+1)*columns]
		var largest float32
		for _, v := range row {
			largest = max(largest, v, -v)
		}
		if largest == 0 {
			continue // whole numbers of 0 with a scale of 0
		}
		scales[r] = largest / maxInt8
		for c, v := range row {
			whole[r*columns+c] = int8(math.RoundToEven(float64(v) / float64(largest) * maxInt8))
		}
	}
	return whole, scales
}

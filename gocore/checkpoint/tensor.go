package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// DType is the element type of a stored tensor.
type DType struct {
	Name string
	Size int // bytes
	// float32 decodes one element; nil where a tensor of weights can't have it.
	float32 func([]byte) float32
}

var (
	float64Type = DType{"float64", 8, func(b []byte) float32 {
		return float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}}
	float32Type = DType{"float32", 4, func(b []byte) float32 {
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	}}
	float16Type  = DType{"float16", 2, func(b []byte) float32 { return float16(binary.LittleEndian.Uint16(b)) }}
	bfloat16Type = DType{"bfloat16", 2, func(b []byte) float32 {
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
	}}
	int64Type = DType{"int64", 8, nil}
	int32Type = DType{"int32", 4, nil}
	int16Type = DType{"int16", 2, nil}
	int8Type  = DType{"int8", 1, nil}
	uint8Type = DType{"uint8", 1, nil}
	boolType  = DType{"bool", 1, nil}
)

// float16 widens an IEEE 754 half.
func float16(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero and subnormals: fraction × 2^-24
		v := float32(fraction) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(v))
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// Tensor is a tensor in a file, as yet unread.
type Tensor struct {
	Name  string
	DType DType
	Shape []int

	data    io.ReaderAt // the storage's bytes
	offset  int         // of the first element in the storage, in elements
	strides []int       // in elements; nil if row-major without gaps
}

// NumElements is the product of the shape.
func (t *Tensor) NumElements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// readPiece bounds the memory for undecoded bytes.
const readPiece = 1 << 20

// ReadFloat32 reads elements start … start+len(dst)-1 in row-major order.
// Errors wrap [ErrMalformed] or [ErrUnsupported].
func (t *Tensor) ReadFloat32(dst []float32, start int) error {
	if t.DType.float32 == nil {
		return fmt.Errorf("checkpoint: tensor %q has type %s, but weights must be floating-point numbers: %w",
			t.Name, t.DType.Name, ErrUnsupported)
	}
	if start < 0 || start+len(dst) > t.NumElements() {
		return fmt.Errorf("checkpoint: tensor %q: elements %d to %d of %d: %w",
			t.Name, start, start+len(dst), t.NumElements(), ErrMalformed)
	}
	size := t.DType.Size
	buffer := make([]byte, min(len(dst)*size, readPiece))
	if t.strides == nil {
		return t.readRun(dst, t.offset+start, buffer)
	}
	// A view of any strides: read runs along the last dimension where it is
	// contiguous, single elements elsewhere.
	last := len(t.Shape) - 1
	for done := 0; done < len(dst); {
		at, rest := t.offset, start+done
		column := rest % t.Shape[last]
		for d := last; d >= 0; d-- {
			at += rest % t.Shape[d] * t.strides[d]
			rest /= t.Shape[d]
		}
		run := 1
		if t.strides[last] == 1 {
			run = min(t.Shape[last]-column, len(dst)-done)
		}
		if err := t.readRun(dst[done:done+run], at, buffer); err != nil {
			return err
		}
		done += run
	}
	return nil
}

// readRun reads elements that follow each other in the storage.
func (t *Tensor) readRun(dst []float32, at int, buffer []byte) error {
	size := t.DType.Size
	for len(dst) > 0 {
		n := min(len(dst), len(buffer)/size)
		piece := buffer[:n*size]
		if _, err := t.data.ReadAt(piece, int64(at)*int64(size)); err != nil {
			return fmt.Errorf("checkpoint: tensor %q: %w: %w", t.Name, err, ErrMalformed)
		}
		for i := range n {
			dst[i] = t.DType.float32(piece[i*size:])
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// maxElements keeps every product of dimensions far from overflow.
const maxElements = 1 << 40

// elements multiplies a shape that a file claims.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > maxElements || n > maxElements/max(d, 1) {
			return 0, fmt.Errorf("shape %v: %w", shape, ErrMalformed)
		}
		n *= d
	}
	return n, nil
}

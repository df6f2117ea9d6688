package statetest

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// Tensor is a tensor to store: its type in the words of safetensors ("F32",
// "BF16", "I64", …), its shape, and its elements as little-endian bytes in
// row-major order.
type Tensor struct {
	Type  string
	Shape []int
	Bytes []byte
}

// Float32 makes a tensor of float32 values.
func Float32(values []float32, shape ...int) Tensor {
	t := Tensor{Type: "F32", Shape: shape}
	for _, v := range values {
		t.Bytes = binary.LittleEndian.AppendUint32(t.Bytes, math.Float32bits(v))
	}
	return t
}

// Values are the elements of a tensor of float32 values.
func (t Tensor) Values() []float32 {
	values := make([]float32, len(t.Bytes)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Bytes[4*i:]))
	}
	return values
}

// Safetensors is the content of a safetensors file.
func Safetensors(tensors map[string]Tensor) []byte {
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		t := tensors[name]
		begin := len(data)
		data = append(data, t.Bytes...)
		header[name] = entry{t.Type, append([]int{}, t.Shape...), [2]int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		panic(err) // names, numbers and lists of numbers can be encoded
	}
	return SafetensorsOf(string(text), data)
}

// SafetensorsOf is a safetensors file of any header.
func SafetensorsOf(header string, data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

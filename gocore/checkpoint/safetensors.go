package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

var safetensorsTypes = map[string]DType{
	"F64": float64Type, "F32": float32Type, "F16": float16Type, "BF16": bfloat16Type,
	"I64": int64Type, "I32": int32Type, "I16": int16Type, "I8": int8Type, "U8": uint8Type, "BOOL": boolType,
}

// maxHeader is the longest header that the format's own reader takes.
const maxHeader = 100_000_000

// readSafetensors lists the tensors of a safetensors file of a given size.
// The format: 8 bytes of header length, a JSON header, the tensors' bytes.
func readSafetensors(file io.ReaderAt, size int64) (map[string]*Tensor, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("safetensors: "+format+": %w", append(args, ErrMalformed)...)
	}
	var prefix [8]byte
	if _, err := file.ReadAt(prefix[:], 0); err != nil {
		return nil, fail("%d bytes are no safetensors file", size)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeader || int64(length) > size-8 {
		return nil, fail("a header of %d bytes in a file of %d", length, size)
	}
	header := make([]byte, length)
	if _, err := file.ReadAt(header, 8); err != nil {
		return nil, fail("header: %v", err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(header, &entries); err != nil {
		return nil, fail("header: %v", err)
	}
	delete(entries, "__metadata__")
	begin := 8 + int64(length)
	data := io.NewSectionReader(file, begin, size-begin)
	tensors := make(map[string]*Tensor, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) { // the same mistake is named each time
		raw := entries[name]
		var entry struct {
			DType   string   `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			return nil, fail("tensor %q: %v", name, err)
		}
		dtype, known := safetensorsTypes[entry.DType]
		if !known {
			return nil, fmt.Errorf("safetensors: tensor %q: type %q: %w", name, entry.DType, ErrUnsupported)
		}
		n, err := elements(entry.Shape)
		if err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		lo, hi := entry.Offsets[0], entry.Offsets[1]
		if lo < 0 || hi < lo || hi > data.Size() {
			return nil, fail("tensor %q: bytes %d to %d of %d", name, lo, hi, data.Size())
		}
		if hi-lo != int64(n)*int64(dtype.Size) {
			return nil, fail("tensor %q: %d bytes for shape %v of %s", name, hi-lo, entry.Shape, dtype.Name)
		}
		tensors[name] = &Tensor{
			Name: name, DType: dtype, Shape: entry.Shape,
			data: io.NewSectionReader(data, lo, hi-lo),
		}
	}
	return tensors, nil
}

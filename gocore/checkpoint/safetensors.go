package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

var safetensorsTypes = map[string]DType{
	"F64": float64Type, "F32": float32Type, "F16": float16Type, "BF16": bfloat16Type,
	"I64": int64Type, "I32": int32Type, "I16": int16Type, "I8": int8Type, "U8": uint8Type, "BOOL": boolType,
}

// maxHeader is the longest header that the format's own reader takes.
const maxHeader = 100_000_000

// section is a tensor of a safetensors file and the bytes that it takes, from
// the end of the header on.
type section struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int64
}

// readSafetensors lists the tensors of a safetensors file of a given size.
// The format: 8 bytes of header length, a JSON header, the tensors' bytes. As
// in the format's own reader, the tensors lie one after the other from the end
// of the header to the end of the file.
func readSafetensors(file io.ReaderAt, size int64) (map[string]*Tensor, error) {
	header, err := safetensorsHeader(file, size)
	if err != nil {
		return nil, err
	}
	begin := 8 + int64(len(header))
	data := io.NewSectionReader(file, begin, size-begin)
	sections, err := safetensorsSections(header, data.Size())
	if err != nil {
		return nil, err
	}
	if err := checkLayout(sections, data.Size()); err != nil {
		return nil, err
	}
	tensors := make(map[string]*Tensor, len(sections))
	for _, s := range sections {
		tensors[s.name] = &Tensor{
			Name: s.name, DType: s.dtype, Shape: s.shape,
			data: io.NewSectionReader(data, s.begin, s.end-s.begin),
		}
	}
	return tensors, nil
}

func badSafetensors(format string, args ...any) error {
	return fmt.Errorf("safetensors: "+format+": %w", append(args, ErrMalformed)...)
}

// safetensorsHeader reads the JSON text of the header.
func safetensorsHeader(file io.ReaderAt, size int64) ([]byte, error) {
	var prefix [8]byte
	if _, err := file.ReadAt(prefix[:], 0); err != nil {
		return nil, badSafetensors("a file of %d bytes is not a safetensors file", size)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeader || int64(length) > size-8 {
		return nil, badSafetensors("the header claims %d bytes, but the file has %d", length, size)
	}
	header := make([]byte, length)
	if _, err := file.ReadAt(header, 8); err != nil && length > 0 {
		return nil, badSafetensors("header: %v", err)
	}
	if !utf8.Valid(header) {
		return nil, badSafetensors("header: the text is not UTF-8")
	}
	return header, nil
}

// safetensorsSections reads the header of a file with so many bytes of tensors.
func safetensorsSections(header []byte, size int64) ([]section, error) {
	entries, err := members(header)
	if err != nil {
		return nil, badSafetensors("header: %v", err)
	}
	if raw, has := entries["__metadata__"]; has {
		var metadata map[string]string
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return nil, badSafetensors("header: __metadata__: %v", err)
		}
		delete(entries, "__metadata__")
	}
	sections := make([]section, 0, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) { // the same mistake is named each time
		s, err := readSection(name, entries[name], size)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	return sections, nil
}

// readSection reads the entry of one tensor.
func readSection(name string, raw json.RawMessage, size int64) (section, error) {
	fail := func(format string, args ...any) (section, error) {
		return section{}, badSafetensors("tensor %q: "+format, append([]any{name}, args...)...)
	}
	entry, err := members(raw)
	if err != nil {
		return fail("%v", err)
	}
	var typeName string
	if raw, has := entry["dtype"]; has {
		if err := json.Unmarshal(raw, &typeName); err != nil {
			return fail("dtype: %v", err)
		}
	}
	dtype, known := safetensorsTypes[typeName]
	if !known {
		return section{}, fmt.Errorf("safetensors: tensor %q: type %q: %w", name, typeName, ErrUnsupported)
	}
	shape, err := wholeNumbers[int](entry["shape"])
	if err != nil {
		return fail("shape: %v", err)
	}
	offsets, err := wholeNumbers[int64](entry["data_offsets"])
	if err != nil {
		return fail("data_offsets: %v", err)
	}
	if len(offsets) != 2 {
		return fail("data_offsets: %d numbers, not a beginning and an end", len(offsets))
	}
	n, err := elements(shape)
	if err != nil {
		return section{}, fmt.Errorf("safetensors: tensor %q: %w", name, err)
	}
	begin, end := offsets[0], offsets[1]
	if begin < 0 || end < begin {
		return fail("bytes %d to %d of %d", begin, end, size)
	}
	if end > size {
		return fail("bytes %d to %d of %d: the file is cut off, so download or copy it again", begin, end, size)
	}
	if end-begin != int64(n)*int64(dtype.Size) { // elements keeps the product far from overflow
		return fail("%d bytes for shape %v of %s", end-begin, shape, dtype.Name)
	}
	return section{name, dtype, shape, begin, end}, nil
}

// checkLayout refuses tensors that overlap, and bytes that belong to no tensor,
// which could hold anything.
func checkLayout(sections []section, size int64) error {
	const wayOut = "the file is damaged or was written by another program; " +
		"download it again, or save it again with the safetensors library"
	ordered := slices.SortedFunc(slices.Values(sections), func(a, b section) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	var last section
	for _, s := range append(ordered, section{begin: size, end: size}) {
		if s.begin < last.end {
			return badSafetensors("tensors %q (bytes %d to %d) and %q (bytes %d to %d) overlap: "+wayOut,
				last.name, last.begin, last.end, s.name, s.begin, s.end)
		}
		if s.begin > last.end {
			return badSafetensors("bytes %d to %d of %d belong to no tensor: "+wayOut, last.end, s.begin, size)
		}
		last = s
	}
	return nil
}

// members are the values of a JSON object by name. A name that stands twice is
// refused, because readers differ in which of the values they take.
func members(text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil {
		return nil, endOfText(err)
	} else if start != json.Delim('{') || text[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	found := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, endOfText(err)
		}
		name, _ := key.(string) // the decoder takes nothing else here
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("%q occurs twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, endOfText(err)
		}
		found[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, endOfText(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is other data after the JSON object")
	}
	return found, nil
}

// endOfText says in words that the text ends too early.
func endOfText(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("unexpected end of JSON input")
	}
	return err
}

// wholeNumbers reads a list of whole numbers. A null in the place of the list or
// of a number is none.
func wholeNumbers[T int | int64](raw json.RawMessage) ([]T, error) {
	if raw == nil {
		return nil, errors.New("it is missing")
	}
	var list []*T
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errors.New("null is not a list")
	}
	numbers := make([]T, len(list))
	for i, n := range list {
		if n == nil {
			return nil, errors.New("null is not a number")
		}
		numbers[i] = *n
	}
	return numbers, nil
}

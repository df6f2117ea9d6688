package checkpoint

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// torchStorages are the storage classes that a pickle names.
var torchStorages = map[string]DType{
	"DoubleStorage": float64Type, "FloatStorage": float32Type, "HalfStorage": float16Type,
	"BFloat16Storage": bfloat16Type, "LongStorage": int64Type, "IntStorage": int32Type, "ShortStorage": int16Type,
	"CharStorage": int8Type, "ByteStorage": uint8Type, "BoolStorage": boolType,
}

// maxPickle bounds the pickle of a checkpoint, whose tensors lie elsewhere. The
// 19,790 entries of a gene table take about 3 MB.
const maxPickle = 1 << 28

// storage is the bytes that one or more tensors lie in.
type storage struct {
	dtype DType
	n     int // elements
	data  io.ReaderAt
}

// readTorch reads a file that torch.save wrote, a zip with a pickle in it, into
// inert values and unread tensors.
func readTorch(file io.ReaderAt, size int64) (any, error) {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return nil, notAZip(file, err)
	}
	entries := make(map[string]*zip.File, len(archive.File))
	root := ""
	for _, f := range archive.File {
		if _, twice := entries[f.Name]; twice {
			return nil, fmt.Errorf("torch zip: entry %q stands twice: %w", f.Name, ErrMalformed)
		}
		entries[f.Name] = f
		if name, is := strings.CutSuffix(f.Name, "data.pkl"); is && (root == "" || len(name) < len(root)) {
			root = name
		}
	}
	pickled, found := entries[root+"data.pkl"]
	if !found {
		return nil, fmt.Errorf("torch zip: no data.pkl among %d entries: not a file that torch.save wrote: %w",
			len(archive.File), ErrMalformed)
	}
	stored := func(f *zip.File) (*io.SectionReader, error) {
		if f.Method != zip.Store {
			return nil, fmt.Errorf("torch zip: entry %q is compressed, torch stores plainly: %w", f.Name, ErrUnsupported)
		}
		at, err := f.DataOffset()
		if err != nil || f.UncompressedSize64 > uint64(size) || at+int64(f.UncompressedSize64) > size {
			return nil, fmt.Errorf("torch zip: entry %q reaches past the end of the file: %w", f.Name, ErrMalformed)
		}
		return io.NewSectionReader(file, at, int64(f.UncompressedSize64)), nil
	}
	if order, has := entries[root+"byteorder"]; has {
		data, err := stored(order)
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(data, 16))
		if err != nil || string(text) != "little" {
			return nil, fmt.Errorf("torch zip: byte order %q: %w", text, ErrUnsupported)
		}
	}
	section, err := stored(pickled)
	if err != nil {
		return nil, err
	}
	if section.Size() > maxPickle {
		return nil, fmt.Errorf("torch zip: a pickle of %d bytes: %w", section.Size(), ErrUnsupported)
	}
	program, err := io.ReadAll(section)
	if err != nil {
		return nil, fmt.Errorf("torch zip: data.pkl: %w: %w", err, ErrMalformed)
	}
	u := &unpickler{in: program, reduce: reduceTorch}
	u.persistent = func(id any) (any, error) {
		// ("storage", class, key, location, number of elements)
		parts, is := id.(Tuple)
		if !is || len(parts) < 5 || parts[0] != "storage" {
			return nil, u.fail("a persistent id that is no storage")
		}
		class, _ := parts[1].(Global)
		key, _ := parts[2].(string)
		n, _ := parts[4].(int64)
		dtype, known := torchStorages[strings.TrimPrefix(string(class), "torch.")]
		if class == "torch.storage.UntypedStorage" {
			dtype, known = uint8Type, true
		}
		entry, has := entries[root+"data/"+key]
		if !known || !has || n < 0 {
			return nil, u.fail("storage %q of class %q is not in the file", key, class)
		}
		data, err := stored(entry)
		if err != nil {
			return nil, err
		}
		if n > data.Size()/int64(dtype.Size) {
			return nil, u.fail("storage %q: %d elements of %s in %d bytes", key, n, dtype.Name, data.Size())
		}
		return &storage{dtype, int(n), data}, nil
	}
	return u.run()
}

// notAZip tells the legacy torch format, which is a bare pickle, from other files.
func notAZip(file io.ReaderAt, cause error) error {
	var head [2]byte
	if _, err := file.ReadAt(head[:], 0); err == nil && bytes.Equal(head[:], []byte{0x80, 0x02}) {
		return fmt.Errorf("torch: the format of torch before 1.6 is not read: load the file with torch and save it again "+
			"(torch.save writes the present format): %w", ErrUnsupported)
	}
	return fmt.Errorf("torch zip: %w: truncated, or not a file that torch.save wrote: %w", cause, ErrMalformed)
}

// reduceTorch makes tensors and containers of the constructors that stand for them.
func reduceTorch(class Global, args Tuple) (any, bool, error) {
	switch class {
	case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
		t, err := rebuildTensor(args)
		return t, true, err
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) > 0 {
			if t, is := args[0].(*Tensor); is {
				return t, true, nil
			}
		}
		return nil, false, fmt.Errorf("pickle: a parameter without a tensor: %w", ErrMalformed)
	case "collections.OrderedDict", "builtins.dict", "__builtin__.dict", "collections.defaultdict":
		d := &Dict{}
		if len(args) == 1 {
			if entries, is := args[0].(*List); is { // the form of protocol 1
				if entries.spent {
					return nil, false, fmt.Errorf("pickle: a list that becomes a dict twice: %w", ErrMalformed)
				}
				entries.spent = true
				for _, entry := range entries.Items {
					switch pair := entry.(type) {
					case Tuple:
						if len(pair) == 2 {
							d.Pairs = append(d.Pairs, Pair{pair[0], pair[1]})
						}
					case *List:
						if len(pair.Items) == 2 {
							d.Pairs = append(d.Pairs, Pair{pair.Items[0], pair.Items[1]})
						}
					}
				}
			}
		}
		return d, true, nil
	case "builtins.set", "__builtin__.set", "builtins.list", "__builtin__.list", "builtins.frozenset":
		if len(args) == 1 {
			if l, is := args[0].(*List); is {
				return l, true, nil
			}
		}
		return &List{}, true, nil
	}
	return nil, false, nil
}

func rebuildTensor(args Tuple) (*Tensor, error) {
	fail := func(what string) error { return fmt.Errorf("pickle: a tensor with %s: %w", what, ErrMalformed) }
	if len(args) < 4 {
		return nil, fail("too few arguments")
	}
	store, is := args[0].(*storage)
	if !is {
		return nil, fail("no storage")
	}
	offset, isOffset := args[1].(int64)
	shape, errShape := ints(args[2])
	strides, errStrides := ints(args[3])
	if !isOffset || offset < 0 || errShape || errStrides || len(shape) != len(strides) {
		return nil, fail("no sound shape and strides")
	}
	n, err := elements(shape)
	if err != nil {
		return nil, fmt.Errorf("pickle: a tensor: %w", err)
	}
	last := int(offset)
	rowMajor, step := true, 1
	for d := len(shape) - 1; d >= 0; d-- {
		if strides[d] < 0 || strides[d] > maxElements {
			return nil, fail("strides out of range")
		}
		if shape[d] > 1 {
			if last += (shape[d] - 1) * strides[d]; last > maxElements || last < 0 {
				return nil, fail("strides out of range")
			}
			rowMajor = rowMajor && strides[d] == step
		}
		step *= max(shape[d], 1)
	}
	if n > store.n { // an expanded view could claim any size
		return nil, fail(fmt.Sprintf("%d elements in a storage of %d", n, store.n))
	}
	if n > 0 && last >= store.n {
		return nil, fail(fmt.Sprintf("element %d in a storage of %d", last, store.n))
	}
	t := &Tensor{DType: store.dtype, Shape: shape, data: store.data, offset: int(offset)}
	if !rowMajor {
		t.strides = strides
	}
	return t, nil
}

// maxRank is the largest number of dimensions that torch computes with.
const maxRank = 64

func ints(v any) (values []int, bad bool) {
	items, is := v.(Tuple)
	if !is || len(items) > maxRank {
		return nil, true
	}
	for _, item := range items {
		n, is := item.(int64)
		if !is || n < 0 || n > maxElements {
			return nil, true
		}
		values = append(values, int(n))
	}
	return values, false
}

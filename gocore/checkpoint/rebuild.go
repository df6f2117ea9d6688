package checkpoint

import (
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

// storageType is the element type of a storage class. An untyped storage holds bytes.
func storageType(class Global) (DType, bool) {
	if class == "torch.storage.UntypedStorage" {
		return uint8Type, true
	}
	dtype, known := torchStorages[strings.TrimPrefix(string(class), "torch.")]
	return dtype, known
}

// storage is the bytes that one or more tensors lie in.
type storage struct {
	dtype DType
	n     int // elements
	data  io.ReaderAt
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
		d, err := rebuildDict(args)
		return d, err == nil, err
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

// rebuildDict makes a dict. Its entries are the only argument in the form of
// protocol 1, and follow later in others.
func rebuildDict(args Tuple) (*Dict, error) {
	d := &Dict{}
	if len(args) != 1 {
		return d, nil
	}
	entries, is := args[0].(*List)
	if !is {
		return d, nil
	}
	if entries.spent {
		return nil, fmt.Errorf("pickle: a list that becomes a dict twice: %w", ErrMalformed)
	}
	entries.spent = true
	for _, entry := range entries.Items {
		var pair []any
		switch entry := entry.(type) {
		case Tuple:
			pair = entry
		case *List:
			pair = entry.Items
		}
		if len(pair) == 2 {
			d.Pairs = append(d.Pairs, Pair{pair[0], pair[1]})
		}
	}
	return d, nil
}

// rebuildTensor makes a tensor of a storage, an offset, a shape and strides.
func rebuildTensor(args Tuple) (*Tensor, error) {
	if len(args) < 4 {
		return nil, badTensor("too few arguments")
	}
	store, is := args[0].(*storage)
	if !is {
		return nil, badTensor("no storage")
	}
	offset, isOffset := args[1].(int64)
	shape, errShape := ints(args[2])
	strides, errStrides := ints(args[3])
	if !isOffset || offset < 0 || errShape || errStrides || len(shape) != len(strides) {
		return nil, badTensor("no sound shape and strides")
	}
	n, err := elements(shape)
	if err != nil {
		return nil, fmt.Errorf("pickle: a tensor: %w", err)
	}
	last, err := lastElement(int(offset), shape, strides)
	if err != nil {
		return nil, err
	}
	if n > store.n { // an expanded view could claim any size
		return nil, badTensor(fmt.Sprintf("%d elements in a storage of %d", n, store.n))
	}
	if n > 0 && last >= store.n {
		return nil, badTensor(fmt.Sprintf("element %d in a storage of %d", last, store.n))
	}
	t := &Tensor{DType: store.dtype, Shape: shape, data: store.data, offset: int(offset)}
	if !isRowMajor(shape, strides) {
		t.strides = strides
	}
	return t, nil
}

func badTensor(what string) error {
	return fmt.Errorf("pickle: a tensor with %s: %w", what, ErrMalformed)
}

// lastElement is the place of a tensor's last element in its storage.
func lastElement(offset int, shape, strides []int) (int, error) {
	last := offset
	for d, n := range shape {
		if n < 2 {
			continue
		}
		if strides[d] > (maxElements-last)/(n-1) { // before the product overflows
			return 0, badTensor("strides out of range")
		}
		last += (n - 1) * strides[d]
	}
	return last, nil
}

// isRowMajor tells whether a tensor's elements follow each other without gaps.
// The stride of a dimension of one element says nothing.
func isRowMajor(shape, strides []int) bool {
	step := 1
	for d := len(shape) - 1; d >= 0; d-- {
		if shape[d] > 1 && strides[d] != step {
			return false
		}
		step *= max(shape[d], 1)
	}
	return true
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

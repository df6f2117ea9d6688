package statetest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// What torch.save can be given here: nil, bool, int, float64, string, Tensor,
// View, and these containers of them.
type (
	// Entry is an entry of a dict.
	Entry struct{ Key, Value any }
	// Dict is an OrderedDict.
	Dict []Entry
	// List is a list.
	List []any
	// Tuple is a tuple.
	Tuple []any
	// View is a tensor over a part of another one's storage. Views of the same
	// tensor share its storage.
	View struct {
		Of             *Tensor
		Offset         int // elements
		Shape, Strides []int
	}
)

// DictOf makes a dict of keys and values in turn.
func DictOf(keysAndValues ...any) Dict {
	var d Dict
	for i := 0; i < len(keysAndValues); i += 2 {
		d = append(d, Entry{keysAndValues[i], keysAndValues[i+1]})
	}
	return d
}

// storageClasses are torch's names for element types.
var storageClasses = map[string]string{
	"F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
	"I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage", "U8": "ByteStorage",
	"BOOL": "BoolStorage",
}

var elementSizes = map[string]int{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}

// Torch is the content of a file that torch.save would write.
func Torch(value any) []byte {
	p := &pickler{keys: map[*Tensor]int{}, out: []byte{0x80, 2}}
	p.add(value)
	storages := make([][]byte, len(p.storages))
	for i, t := range p.storages {
		storages[i] = t.Bytes
	}
	return TorchZip(string(p.out)+".", storages...)
}

// TorchZip is a torch file of any pickle, with storages of the keys "0", "1", ….
func TorchZip(pickle string, storages ...[]byte) []byte {
	entries := []string{"archive/data.pkl", pickle, "archive/byteorder", "little"}
	for i, data := range storages {
		entries = append(entries, fmt.Sprintf("archive/data/%d", i), string(data))
	}
	return Zip(append(entries, "archive/version", "3\n")...)
}

// Zip is a zip file of entries, names and contents in turn, stored plainly.
func Zip(namesAndContents ...string) []byte {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for i := 0; i < len(namesAndContents); i += 2 {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: namesAndContents[i], Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(namesAndContents[i+1]))
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	if err := archive.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// pickler writes a pickle of protocol 2, without a memo.
type pickler struct {
	out      []byte
	storages []*Tensor
	keys     map[*Tensor]int
}

func (p *pickler) global(module, name string) {
	p.out = append(p.out, "c"+module+"\n"+name+"\n"...)
}

func (p *pickler) addAll(items ...any) {
	for _, item := range items {
		p.add(item)
	}
}

func (p *pickler) add(value any) {
	switch v := value.(type) {
	case nil:
		p.out = append(p.out, 'N')
	case bool:
		p.out = append(p.out, map[bool]byte{true: 0x88, false: 0x89}[v])
	case int:
		p.out = binary.LittleEndian.AppendUint64(append(p.out, 0x8a, 8), uint64(v))
	case float64:
		p.out = binary.BigEndian.AppendUint64(append(p.out, 'G'), math.Float64bits(v))
	case string:
		p.out = binary.LittleEndian.AppendUint32(append(p.out, 'X'), uint32(len(v)))
		p.out = append(p.out, v...)
	case Tuple:
		p.out = append(p.out, '(')
		p.addAll(v...)
		p.out = append(p.out, 't')
	case List:
		p.out = append(p.out, ']', '(')
		p.addAll(v...)
		p.out = append(p.out, 'e')
	case Dict:
		p.global("collections", "OrderedDict")
		p.out = append(p.out, ')', 'R', '(')
		for _, e := range v {
			p.addAll(e.Key, e.Value)
		}
		p.out = append(p.out, 'u')
	case Tensor:
		p.view(View{Of: &v, Shape: v.Shape, Strides: rowMajor(v.Shape)})
	case View:
		p.view(v)
	default:
		panic(fmt.Sprintf("statetest: no pickle for a %T", value))
	}
}

func (p *pickler) view(v View) {
	key, known := p.keys[v.Of]
	if !known {
		key = len(p.storages)
		p.keys[v.Of] = key
		p.storages = append(p.storages, v.Of)
	}
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.out = append(p.out, '(', '(')
	p.add("storage")
	p.global("torch", storageClasses[v.Of.Type])
	p.addAll(strconv.Itoa(key), "cpu", len(v.Of.Bytes)/elementSizes[v.Of.Type])
	p.out = append(p.out, 't', 'Q')
	p.addAll(v.Offset, ints(v.Shape), ints(v.Strides), false, Dict{})
	p.out = append(p.out, 't', 'R')
}

func rowMajor(shape []int) []int {
	strides, step := make([]int, len(shape)), 1
	for d := len(shape) - 1; d >= 0; d-- {
		strides[d] = step
		step *= shape[d]
	}
	return strides
}

func ints(values []int) Tuple {
	t := make(Tuple, len(values))
	for i, v := range values {
		t[i] = v
	}
	return t
}

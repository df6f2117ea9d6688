package checkpoint

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

// unpickle runs a program that names no storages.
func unpickle(program string) (any, error) {
	u := &unpickler{in: []byte(program), reduce: reduceTorch}
	u.persistent = func(any) (any, error) { return nil, u.fail("no storages here") }
	return u.run()
}

// The programs are pickletools' opcodes by hand; the comments give their names.
func TestUnpickle(t *testing.T) {
	list := func(items ...any) *List { return &List{Items: items} }
	dict := func(pairs ...Pair) *Dict { return &Dict{pairs} }
	for _, c := range []struct {
		name, program string
		want          any
	}{
		{"None", "N.", nil},
		{"True", "\x80\x02\x88.", true},
		{"False", "\x89.", false},
		{"BININT", "J\xfe\xff\xff\xff.", int64(-2)},
		{"BININT1", "K\xff.", int64(255)},
		{"BININT2", "M\x01\x02.", int64(513)},
		{"LONG1", "\x8a\x03\x00\x00\x80.", int64(-1 << 23)},
		{"LONG1 of nothing", "\x8a\x00.", int64(0)},
		{"LONG4", "\x8b\x01\x00\x00\x00\x7f.", int64(127)},
		{"LONG1 beyond int64", "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", new(big.Int).Lsh(big.NewInt(1), 64)},
		{"BINFLOAT", "G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 1.5},
		{"BINUNICODE", "X\x02\x00\x00\x00ab.", "ab"},
		{"SHORT_BINUNICODE in a frame", "\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00\x8c\x02ab.", "ab"},
		{"BINUNICODE8", "\x8d\x01\x00\x00\x00\x00\x00\x00\x00a.", "a"},
		{"SHORT_BINBYTES", "C\x01a.", []byte("a")},
		{"BYTEARRAY8", "\x96\x01\x00\x00\x00\x00\x00\x00\x00a.", []byte("a")},
		{"SHORT_BINSTRING", "U\x01a.", "a"},
		{"EMPTY_TUPLE", ").", Tuple(nil)},
		{"TUPLE1 to TUPLE3", "K\x01\x85K\x02K\x03\x86K\x04\x87.", Tuple{Tuple{int64(1)}, Tuple{int64(2), int64(3)}, int64(4)}},
		{"TUPLE", "(K\x01K\x02t.", Tuple{int64(1), int64(2)}},
		{"LIST", "(K\x01l.", list(int64(1))},
		{"APPEND and APPENDS", "]K\x01a(K\x02K\x03e.", list(int64(1), int64(2), int64(3))},
		{"a set", "\x8f(K\x01K\x02\x90.", list(int64(1), int64(2))},
		{"FROZENSET", "(K\x01\x91.", list(int64(1))},
		{"DICT", "(K\x01K\x02d.", dict(Pair{int64(1), int64(2)})},
		{"SETITEM and SETITEMS", "}K\x01K\x02s(K\x03K\x04u.", dict(Pair{int64(1), int64(2)}, Pair{int64(3), int64(4)})},
		{"BINPUT and BINGET", "]q\x00K\x01ah\x00\x86.", Tuple{list(int64(1)), list(int64(1))}},
		{"LONG_BINPUT and LONG_BINGET", "Nr\x00\x01\x00\x000j\x00\x01\x00\x00.", nil},
		{"MEMOIZE", "K\x05\x94h\x00\x86.", Tuple{int64(5), int64(5)}},
		{"POP, POP_MARK and DUP", "K\x01K\x020(K\x031K\x042\x87.", Tuple{int64(1), int64(4), int64(4)}},
		{"a global", "ctorch\nfloat32\n.", Global("torch.float32")},
		{"STACK_GLOBAL", "\x8c\x05torch\x8c\x07float32\x93.", Global("torch.float32")},
		{"OrderedDict", "ccollections\nOrderedDict\n)R(K\x01K\x02u.", dict(Pair{int64(1), int64(2)})},
		{"OrderedDict of pairs", "ccollections\nOrderedDict\n](K\x01K\x02\x86](K\x03K\x04ee\x85R.", dict(Pair{int64(1), int64(2)}, Pair{int64(3), int64(4)})},
		{"set of a list", "cbuiltins\nset\n](K\x01e\x85R.", list(int64(1))},
		{
			"a class of omegaconf", "comegaconf.dictconfig\nDictConfig\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
			&Record{"omegaconf.dictconfig.DictConfig", nil, dict(Pair{"a", int64(1)})},
		},
		{
			"NEWOBJ_EX", "cpathlib\nPosixPath\n(X\x01\x00\x00\x00at}\x92.",
			&Record{"pathlib.PosixPath", []any{"a"}, nil},
		},
		{
			"the result of a call, called", "cfunctools\npartial\n)R)R.",
			&Record{"functools.partial", nil, nil},
		},
		{
			"types by the names of Python 2", "(c__builtin__\nlong\nc__builtin__\nunicode\nc__builtin__\nxrange\nt.",
			Tuple{Global("__builtin__.long"), Global("__builtin__.unicode"), Global("__builtin__.xrange")},
		},
		{"a record takes items and drops them", "cenum\nEnum\n)\x81K\x01a(K\x02K\x03u.", &Record{"enum.Enum", nil, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := unpickle(c.program)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, c.want)
			}
		})
	}
}

func TestMalformedPickles(t *testing.T) {
	for _, c := range []struct{ name, program, says string }{
		{"empty", "", "1 bytes are expected, but 0 are left"},
		{"no end", "K\x01", "bytes are expected"},
		{"nothing on the stack", ".", "stack is empty"},
		{"POP of nothing", "0.", "stack is empty"},
		{"DUP of nothing", "2.", "stack is empty"},
		{"TUPLE2 of one", "K\x01\x86.", "stack is empty"},
		{"TUPLE without a mark", "K\x01t.", "no mark"},
		{"APPEND to a number", "K\x01K\x02a.", "int64 takes no items"},
		{"SETITEM into a list", "]K\x01K\x02s.", "List takes no entries"},
		{"SETITEMS of an odd number", "}(K\x01u.", "a key without a value"},
		{"APPENDS to nothing", "(K\x01e.", "stack is empty"},
		{"text of 4 GB", "X\xff\xff\xff\xffab.", "4294967295 bytes are expected, but 3 are left"},
		{"text longer than any number", "\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.", "18446744073709551615 bytes are expected"},
		{"bytes of 2 GB", "B\xff\xff\xff\x7fab.", "2147483647 bytes are expected"},
		{"LONG4 of 2 GB", "\x8b\xff\xff\xff\x7fab.", "2147483647 bytes are expected"},
		{"memo never written", "h\x07.", "memo 7"},
		{"BINPUT of nothing", "q\x00.", "stack is empty"},
		{"a line without end", "c" + strings.Repeat("x", 5000), "a line does not end"},
		{"STACK_GLOBAL of numbers", "K\x01K\x02\x93.", "a global without a name"},
		{"REDUCE of a number", "K\x01)R.", "int64 is made from"},
		{"REDUCE without a tuple", "ctorch\nSize\nK\x01R.", "made from a int64"},
		{"BUILD of nothing", "K\x01b.", "stack is empty"},
		{"a parameter without a tensor", "ctorch._utils\n_rebuild_parameter\n)R.", "a parameter without a tensor"},
		{"a tensor of nothing", "ctorch._utils\n_rebuild_tensor_v2\n)R.", "too few arguments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := unpickle(c.program)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %#v, %v; want one saying %q", v, err, c.says)
			}
		})
	}
}

func TestUnsafePickles(t *testing.T) {
	for name, program := range map[string]string{
		"os.system":                 "cos\nsystem\n(X\x02\x00\x00\x00lstR.",
		"posix.system, protocol 4":  "\x80\x04\x8c\x05posix\x8c\x06system\x93.",
		"builtins.eval":             "cbuiltins\neval\n.",
		"builtins.getattr":          "c__builtin__\ngetattr\n.",
		"subprocess.Popen":          "csubprocess\nPopen\n.",
		"torch.load":                "ctorch\nload\n.",
		"torch.jit._load":           "ctorch.jit\n_load\n.",
		"an attribute of a class":   "\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
		"a name that only begins":   "ccollectionsx\nOrderedDict\n.",
		"protocol 0's INST":         "(ios\nsystem\n.",
		"protocol 0's PERSID":       "P0\n.",
		"an extension's EXT1":       "\x82\x01.",
		"out-of-band NEXT_BUFFER":   "\x97.",
		"protocol 0's INT":          "I1\n.",
		"an opcode that nobody has": "\xff.",
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := unpickle(program); !errors.Is(err, ErrUnsafePickle) {
				t.Errorf("got %#v, %v", v, err)
			}
		})
	}
}

// Pickles that name something long again and again: whoever copied it each
// time would need thousands of times their size.
func TestNothingIsCopiedThatAPickleNamesAgain(t *testing.T) {
	const n = 20_000
	for _, c := range []struct {
		name, program string
		want          error
	}{
		{
			"a list becomes a dict",
			"ccollections\nOrderedDict\nq\x01](" + strings.Repeat("NN\x86", n) + "eq\x00" + strings.Repeat("h\x01h\x00\x85R", n) + ".",
			ErrMalformed,
		},
		{
			"a shape",
			"(" + strings.Repeat("K\x01", n) + "tq\x00" + strings.Repeat("ctorch._utils\n_rebuild_tensor_v2\n(NQK\x00h\x00h\x00tR", n) + ".",
			ErrMalformed,
		},
		{
			"a class",
			"X\x20\x4e\x00\x00omegaconf." + strings.Repeat("x", n-10) + "q\x00X\x01\x00\x00\x00xq\x01" +
				strings.Repeat("h\x00h\x01\x93", n) + ".",
			ErrUnsafePickle,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &unpickler{in: []byte(c.program), reduce: reduceTorch}
			u.persistent = func(any) (any, error) { return &storage{dtype: float32Type}, nil }
			var err error
			if n := statetest.Allocated(func() { _, err = u.run() }); n > 200*uint64(len(c.program)) {
				t.Errorf("%d bytes of memory for %d of pickle", n, len(c.program))
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %.200v", err)
			}
		})
	}
}

func ExampleDict_Get() {
	d := &Dict{[]Pair{{"layers", int64(8)}, {"heads", int64(16)}, {"layers", int64(16)}}}
	layers, has := d.Get("layers")
	fmt.Println(layers, has)
	// Output: 16 true
}

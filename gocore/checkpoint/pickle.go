package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Record is an object of a pickle that is neither a tensor nor a plain
// container: its class by name, what it was to be made from, its state. It
// does nothing.
type Record struct {
	Class string
	Args  []any
	State any
}

// Global is a class or function of a pickle, by name.
type Global string

// Pair is an entry of a dict.
type Pair struct{ Key, Value any }

// Dict is a pickled dict in its order.
type Dict struct{ Pairs []Pair }

// Get finds the last value of a string key.
func (d *Dict) Get(key string) (any, bool) {
	for i := len(d.Pairs) - 1; i >= 0; i-- {
		if d.Pairs[i].Key == key {
			return d.Pairs[i].Value, true
		}
	}
	return nil, false
}

// List is a pickled list or set.
type List struct {
	Items []any

	spent bool // its items have gone into a dict
}

// Tuple is a pickled tuple.
type Tuple []any

// describe is a value for an error: scalars as they are, of containers the kind
// alone, because one that holds another many times over has no end.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v[:min(len(v), 80)])
	case nil, bool, int, int64, float64:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("a %T", v)
}

type mark struct{}

// unpickler interprets a pickle. Every object stems from an opcode of at least
// one byte, and what a memo or a copy on the stack lets a pickle name again is
// never copied, so memory stays proportional to the input.
type unpickler struct {
	in    []byte
	at    int
	stack []any
	memo  map[int]any
	// reduce makes a usable value of a known constructor, or says false.
	reduce func(class Global, args Tuple) (any, bool, error)
	// persistent resolves a torch storage.
	persistent func(id any) (any, error)
}

func (u *unpickler) fail(format string, args ...any) error {
	return fmt.Errorf("pickle: byte %d: "+format+": %w", append(append([]any{u.at}, args...), ErrMalformed)...)
}

func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.in)-u.at) {
		return nil, u.fail("%d bytes are expected, but %d are left", n, len(u.in)-u.at)
	}
	b := u.in[u.at : u.at+int(n)]
	u.at += int(n)
	return b, nil
}

// number takes a little-endian unsigned integer of n bytes.
func (u *unpickler) number(n int) (uint64, error) {
	b, err := u.take(uint64(n))
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

func (u *unpickler) counted(sizeBytes int) ([]byte, error) {
	n, err := u.number(sizeBytes)
	if err != nil {
		return nil, err
	}
	return u.take(n)
}

// maxName bounds the name of a module, and that of a class.
const maxName = 1024

func (u *unpickler) line() (string, error) {
	end := bytes.IndexByte(u.in[u.at:min(len(u.in), u.at+maxName)], '\n')
	if end < 0 {
		return "", u.fail("a line does not end")
	}
	b, err := u.take(uint64(end) + 1)
	if err != nil {
		return "", err
	}
	return string(b[:end]), nil
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, u.fail("the stack is empty")
	}
	v := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) == 0 {
		return nil, u.fail("the stack is empty")
	}
	return u.stack[len(u.stack)-1], nil
}

// popToMark takes what lies above the last mark.
func (u *unpickler) popToMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, is := u.stack[i].(mark); is {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, u.fail("no mark on the stack")
}

// run interprets the pickle to its end.
func (u *unpickler) run() (any, error) {
	u.memo = map[int]any{}
	for {
		op, err := u.take(1)
		if err != nil {
			return nil, err
		}
		if op[0] == '.' { // STOP
			return u.pop()
		}
		if err := u.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// The opcodes are those of pickle protocols 0 to 5 that data needs (PEP 3154,
// pickletools).
func (u *unpickler) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		_, err := u.take(1)
		return err
	case 0x95: // FRAME
		_, err := u.take(8)
		return err
	case '(':
		u.push(mark{})
	case '0': // POP
		_, err := u.pop()
		return err
	case '1': // POP_MARK
		_, err := u.popToMark()
		return err
	case '2': // DUP
		v, err := u.top()
		if err != nil {
			return err
		}
		u.push(v)
	case 'N':
		u.push(nil)
	case 0x88:
		u.push(true)
	case 0x89:
		u.push(false)
	case 'J', 'K', 'M', 0x8a, 0x8b, 'G':
		return u.pushNumber(op)
	case 'X', 0x8c, 0x8d, 'C', 'B', 0x8e, 'U', 'T', 0x96:
		return u.pushText(op)
	case ']', 0x8f: // EMPTY_LIST, EMPTY_SET
		u.push(&List{})
	case '}':
		u.push(&Dict{})
	case ')':
		u.push(Tuple(nil))
	case 't', 'l', 'd', 0x91, 0x85, 0x86, 0x87:
		return u.pushContainer(op)
	case 'a', 'e', 's', 'u', 0x90:
		return u.extend(op)
	case 'q', 'r', 0x94, 'h', 'j':
		return u.memoise(op)
	case 'c', 0x93, 'R', 0x81, 0x92, 'b', 'Q':
		return u.object(op)
	default:
		return fmt.Errorf("pickle: byte %d: opcode %#02x does not belong in a checkpoint: %w", u.at-1, op, ErrUnsafePickle)
	}
	return nil
}

func (u *unpickler) pushNumber(op byte) error {
	switch op {
	case 'J', 'K', 'M':
		n, err := u.number(map[byte]int{'J': 4, 'K': 1, 'M': 2}[op])
		if err != nil {
			return err
		}
		if op == 'J' {
			u.push(int64(int32(n)))
		} else {
			u.push(int64(n))
		}
	case 'G':
		b, err := u.take(8)
		if err != nil {
			return err
		}
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	default: // LONG1, LONG4
		b, err := u.counted(map[byte]int{0x8a: 1, 0x8b: 4}[op])
		if err != nil {
			return err
		}
		u.push(long(b))
	}
	return nil
}

// long is an integer in little-endian two's complement.
func long(b []byte) any {
	if len(b) > 8 {
		reversed := slices.Clone(b)
		slices.Reverse(reversed)
		return new(big.Int).SetBytes(reversed) // an RNG state, perhaps; never a size
	}
	var wide [8]byte
	copy(wide[:], b)
	if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		for i := len(b); i < 8; i++ {
			wide[i] = 0xff
		}
	}
	return int64(binary.LittleEndian.Uint64(wide[:]))
}

func (u *unpickler) pushText(op byte) error {
	sizeBytes := map[byte]int{'X': 4, 0x8c: 1, 0x8d: 8, 'C': 1, 'B': 4, 0x8e: 8, 'U': 1, 'T': 4, 0x96: 8}[op]
	b, err := u.counted(sizeBytes)
	if err != nil {
		return err
	}
	switch op {
	case 'X', 0x8c, 0x8d, 'U', 'T':
		u.push(string(b))
	default:
		u.push(b)
	}
	return nil
}

func (u *unpickler) pushContainer(op byte) error {
	if n := map[byte]int{0x85: 1, 0x86: 2, 0x87: 3}[op]; n > 0 {
		if len(u.stack) < n {
			return u.fail("the stack is empty")
		}
		items := append(Tuple(nil), u.stack[len(u.stack)-n:]...)
		u.stack = u.stack[:len(u.stack)-n]
		u.push(items)
		return nil
	}
	items, err := u.popToMark()
	if err != nil {
		return err
	}
	switch op {
	case 't':
		u.push(Tuple(items))
	case 'd':
		d := &Dict{}
		if err := u.setItems(d, items); err != nil {
			return err
		}
		u.push(d)
	default: // LIST, FROZENSET
		u.push(&List{Items: items})
	}
	return nil
}

// extend adds to the container below on the stack. Records take no items:
// what a subclass of list or dict would do with them is not known.
func (u *unpickler) extend(op byte) error {
	var items []any
	var err error
	switch op {
	case 'a', 's':
		n := map[byte]int{'a': 1, 's': 2}[op]
		if len(u.stack) < n {
			return u.fail("the stack is empty")
		}
		items = append(items, u.stack[len(u.stack)-n:]...)
		u.stack = u.stack[:len(u.stack)-n]
	default:
		if items, err = u.popToMark(); err != nil {
			return err
		}
	}
	target, err := u.top()
	if err != nil {
		return err
	}
	if op == 's' || op == 'u' {
		return u.setItems(target, items)
	}
	switch target := target.(type) {
	case *List:
		target.Items = append(target.Items, items...)
	case *Record:
	default:
		return u.fail("a %T takes no items", target)
	}
	return nil
}

func (u *unpickler) setItems(target any, items []any) error {
	if len(items)%2 != 0 {
		return u.fail("a key without a value")
	}
	switch target := target.(type) {
	case *Dict:
		for i := 0; i < len(items); i += 2 {
			target.Pairs = append(target.Pairs, Pair{items[i], items[i+1]})
		}
	case *Record:
	default:
		return u.fail("a %T takes no entries", target)
	}
	return nil
}

func (u *unpickler) memoise(op byte) error {
	var index int
	switch op {
	case 0x94: // MEMOIZE
		index = len(u.memo)
	default:
		n, err := u.number(map[byte]int{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op])
		if err != nil {
			return err
		}
		index = int(n)
	}
	if op == 'h' || op == 'j' {
		v, known := u.memo[index]
		if !known {
			return u.fail("memo %d was never written", index)
		}
		u.push(v)
		return nil
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	u.memo[index] = v
	return nil
}

// object handles what names, makes and fills the objects of classes.
func (u *unpickler) object(op byte) error {
	switch op {
	case 'c':
		return u.globalOfLines()
	case 0x93: // STACK_GLOBAL
		return u.globalOfStack()
	case 'Q': // BINPERSID
		return u.persistentObject()
	case 'b': // BUILD
		return u.build()
	case 0x92: // NEWOBJ_EX: keyword arguments are kept by no known class
		if _, err := u.pop(); err != nil {
			return err
		}
	}
	return u.construct() // REDUCE, NEWOBJ
}

func (u *unpickler) globalOfLines() error {
	module, err := u.line()
	if err != nil {
		return err
	}
	name, err := u.line()
	if err != nil {
		return err
	}
	return u.global(module, name)
}

func (u *unpickler) globalOfStack() error {
	name, err := u.pop()
	if err != nil {
		return err
	}
	module, err := u.pop()
	if err != nil {
		return err
	}
	m, okM := module.(string)
	n, okN := name.(string)
	if !okM || !okN {
		return u.fail("a global without a name")
	}
	return u.global(m, n)
}

// global pushes a name that checkpoints have. None is ever called.
func (u *unpickler) global(module, name string) error {
	if !allowed(module, name) {
		return fmt.Errorf("pickle: byte %d: %q does not belong in a checkpoint and is not executed: %w",
			u.at, module[:min(len(module), maxName)]+"."+name[:min(len(name), maxName)], ErrUnsafePickle)
	}
	u.push(Global(module + "." + name))
	return nil
}

func (u *unpickler) persistentObject() error {
	id, err := u.pop()
	if err != nil {
		return err
	}
	v, err := u.persistent(id)
	if err != nil {
		return err
	}
	u.push(v)
	return nil
}

// build gives a record its state. A tensor's or a dict's own attributes carry
// no data.
func (u *unpickler) build() error {
	state, err := u.pop()
	if err != nil {
		return err
	}
	target, err := u.top()
	if err != nil {
		return err
	}
	if r, is := target.(*Record); is {
		r.State = state
	}
	return nil
}

// construct makes a value of a class and its arguments: a tensor or a plain
// container where the class is known, else a record.
func (u *unpickler) construct() error {
	args, err := u.pop()
	if err != nil {
		return err
	}
	class, err := u.pop()
	if err != nil {
		return err
	}
	tuple, isTuple := args.(Tuple)
	if r, is := class.(*Record); is { // the result of a call, called: inert as well
		class = Global(r.Class)
	}
	name, isGlobal := class.(Global)
	if !isTuple || !isGlobal {
		return u.fail("a %T is made from a %T", class, args)
	}
	if v, made, err := u.reduce(name, tuple); err != nil || made {
		u.push(v)
		return err
	}
	u.push(&Record{Class: string(name), Args: tuple})
	return nil
}

package embed

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/se600m/se600m-go/gocore/safego"
)

// What did not fit is halved, however many lanes find out.
func TestLower(t *testing.T) {
	var d device
	for _, c := range []struct{ tokens, want int64 }{{1 << 16, 1 << 15}, {1 << 16, 1 << 15}, {1 << 15, 1 << 14}, {1 << 16, 1 << 14}, {1, 1}} {
		if d.lower(int(c.tokens)); d.most.Load() != c.want {
			t.Errorf("%d did not fit: %d", c.tokens, d.most.Load())
		}
	}
}

// A device's threads stay the same from one job to the next, each does one thing
// at a time, and a panic there is an error.
func TestThreads(t *testing.T) {
	var d device
	defer d.end()
	number := func(i int) (tid int) {
		if err := d.thread(i).do(func() error {
			tid = unix.Gettid()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return tid
	}
	first, second := number(0), number(1)
	if first == second || number(0) != first || number(1) != second {
		t.Errorf("threads %d and %d, then %d and %d", first, second, number(0), number(1))
	}
	wrong := errors.New("wrong")
	if err := d.thread(0).do(func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
	if err := d.thread(0).do(func() error { panic("on a thread") }); !errors.Is(err, safego.ErrPanic) {
		t.Errorf("got %v", err)
	}
	if number(0) != first {
		t.Error("the thread did not live on")
	}
}

package pybind

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestHandles(t *testing.T) {
	h := handles[string]{what: "thing"}
	if _, err := h.get(1); !errors.Is(err, errHandle) || err.Error() != "pybind: thing 1 is closed, or was never open: unknown handle" {
		t.Errorf("before any: %v", err)
	}
	a, b := h.add("a"), h.add("b")
	if a == b || a == 0 || b == 0 {
		t.Errorf("handles %d and %d", a, b)
	}
	for range 2 {
		if v, err := h.get(b); v != "b" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	}
	if v, err := h.take(a); v != "a" || err != nil {
		t.Errorf("took %q, %v", v, err)
	}
	for _, again := range []func(int64) (string, error){h.get, h.take} {
		if _, err := again(a); !errors.Is(err, errHandle) {
			t.Errorf("after it was taken: %v", err)
		}
	}
	if c := h.add("c"); c == a || c == b {
		t.Errorf("handle %d is given again", c)
	}
}

func TestAHandleIsTakenOnce(t *testing.T) {
	h := handles[int]{what: "thing"}
	for range 500 {
		handle := h.add(1)
		var taken atomic.Int32
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, err := h.take(handle); err == nil {
					taken.Add(1)
				}
			})
		}
		group.Wait()
		if n := taken.Load(); n != 1 {
			t.Fatalf("taken %d times", n)
		}
	}
}

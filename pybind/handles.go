package pybind

import (
	"fmt"
	"sync"
)

// handles gives integers to values.
type handles[T any] struct {
	mu     sync.Mutex
	last   int64
	values map[int64]T
	what   string
}

func (h *handles[T]) add(v T) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.values == nil {
		h.values = map[int64]T{}
	}
	h.last++
	h.values[h.last] = v
	return h.last
}

func (h *handles[T]) get(handle int64) (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.find(handle)
}

// take finds a value and forgets it: of several takers one has it.
func (h *handles[T]) take(handle int64) (T, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.find(handle)
	delete(h.values, handle)
	return v, err
}

func (h *handles[T]) find(handle int64) (T, error) {
	v, known := h.values[handle]
	if !known {
		return v, fmt.Errorf("pybind: %s %d is closed, or was never open: %w", h.what, handle, errHandle)
	}
	return v, nil
}

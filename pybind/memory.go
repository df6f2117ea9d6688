package pybind

import (
	"fmt"
	"unsafe"
)

// array is one-dimensional memory that Python owns.
type array struct {
	Address uint64 `json:"address"`
	Length  int    `json:"length"`
	DType   string `json:"dtype"`
}

// maxElements is more than any memory holds.
const maxElements = 1 << 46

// slice views an array. This is the only place where an address becomes
// memory; nothing may keep the slice beyond the job it was handed to.
func slice[T any](a array) ([]T, error) {
	var zero T
	size := uint64(unsafe.Sizeof(zero))
	switch {
	case a.Length < 0 || a.Length > maxElements:
		return nil, fmt.Errorf("pybind: %d elements: %w", a.Length, errMemory)
	case a.Length == 0:
		return []T{}, nil
	case a.Address == 0:
		return nil, fmt.Errorf("pybind: %d elements at the null address: %w", a.Length, errMemory)
	case a.Address%size != 0:
		return nil, fmt.Errorf("pybind: address %#x is not aligned to %d bytes: %w", a.Address, size, errMemory)
	}
	address := uintptr(a.Address)
	return unsafe.Slice(*(**T)(unsafe.Pointer(&address)), a.Length), nil
}

// typed views an array of one element type.
func typed[T any](a array, dtype string) ([]T, error) {
	if a.DType != dtype {
		return nil, fmt.Errorf("pybind: an array of %q where %q belongs: %w", a.DType, dtype, errMemory)
	}
	return slice[T](a)
}

// optional views an array that may be left out.
func optional[T any](a *array, dtype string) ([]T, error) {
	if a == nil {
		return nil, nil
	}
	return typed[T](*a, dtype)
}

//go:build !linux || !cgo

package nvidia

import "errors"

const onlyLinux = "GPUs are used on Linux only"

// Query tells that no driver is known here.
func Query() (Driver, error) { return Driver{}, noDriver(onlyLinux) }

// FreeMemory tells that no driver is known here.
func FreeMemory(int) (free, total uint64, err error) { return 0, 0, noDriver(onlyLinux) }

// TensorRTVersion tells that there is none.
func TensorRTVersion() int { return 0 }

func load(string) error { return errors.New(onlyLinux) }

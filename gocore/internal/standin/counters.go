package standin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
)

// MostDevices is how many devices there can be.
const MostDevices = 16

// Counters are what a device has done, see tests/standin_gpu/driver.h.
type Counters struct {
	// Memory and Peak are bytes allocated at the end and at most.
	Memory, Peak uint64
	// Allocations are calls that got memory, Refusals those that got none.
	Allocations, Refusals uint64
	// ToDevice, ToHost and OnDevice are copies, with their bytes.
	ToDevice, ToDeviceBytes uint64
	ToHost, ToHostBytes     uint64
	OnDevice, OnDeviceBytes uint64
	// Launches are kernels, but for matrix products.
	Launches uint64
	// Products are matrix products; ProductFLOP are those of cuBLAS, as
	// cuBLASLt's are not known.
	Products, ProductFLOP uint64
	// Synchronizations are waits for the device.
	Synchronizations uint64
	_                [2]uint64
}

// readCounters reads the counters of all devices that can be. A process that
// asked no driver has written none.
func readCounters(path string) ([]Counters, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	devices := make([]Counters, len(content)/binary.Size(Counters{}))
	if err := binary.Read(bytes.NewReader(content), binary.NativeEndian, devices); err != nil {
		return nil, fmt.Errorf("counters %s: %w", path, err)
	}
	return devices, nil
}

// Now are the counters in the midst of a part of a test that [Run] runs.
func Now(t *testing.T) []Counters {
	t.Helper()
	devices, err := readCounters(os.Getenv(logVariable))
	if err != nil {
		t.Fatal(err)
	}
	if devices == nil {
		devices = make([]Counters, MostDevices)
	}
	return devices
}

package pybind

import (
	"strings"

	"github.com/se600m/se600m-go/gocore/ort"
)

// OpenRuntime loads ONNX Runtime's shared library and tells its version.
func OpenRuntime(path string) (ortVersion string, err error) {
	defer export(&err)
	err = ort.Open(path)
	return ort.Version(), err
}

// RuntimeLibrary is the path of the library that [OpenRuntime] has loaded, or "".
func RuntimeLibrary() string { return ort.Library() }

// CheckDevice tells the names of devices that are there and of their precision,
// {"device": …, "precision": …}, and for one that is not what it lacks.
func CheckDevice(devices, precision string) (resolved string, err error) {
	defer export(&err)
	providers, err := ort.ResolveDevices(devices, precision)
	if err != nil {
		return "", err
	}
	names := make([]string, len(providers))
	for i, p := range providers {
		names[i] = p.Name()
	}
	return toJSON(map[string]any{"device": strings.Join(names, ","), "precision": providers[0].Precision()})
}

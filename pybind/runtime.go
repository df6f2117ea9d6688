package pybind

import "github.com/se600m/se600m-go/gocore/ort"

// OpenRuntime loads ONNX Runtime's shared library and tells its version.
func OpenRuntime(path string) (ortVersion string, err error) {
	defer export(&err)
	err = ort.Open(path)
	return ort.Version(), err
}

// RuntimeLibrary is the path of the library that [OpenRuntime] has loaded, or "".
func RuntimeLibrary() string { return ort.Library() }

// CheckDevice tells the names of a device that is there and of its precision,
// {"device": …, "precision": …}, and for one that is not what it lacks.
func CheckDevice(device, precision string) (resolved string, err error) {
	defer export(&err)
	p, err := ort.ResolveDevice(device, precision)
	if err != nil {
		return "", err
	}
	return toJSON(map[string]any{"device": p.Name(), "precision": p.Precision()})
}

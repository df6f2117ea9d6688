package pybind

import (
	"strings"

	"github.com/se600m/se600m-go/gocore/nvidia"
	"github.com/se600m/se600m-go/gocore/ort"
)

// runtimeRequest is which ONNX Runtime a process is to have.
type runtimeRequest struct {
	// Path of its library.
	Path string `json:"path"`
	// Libraries are those that its provider needs, as absolute paths in the order
	// in which they are loaded, all before ONNX Runtime looks for them.
	Libraries []string `json:"libraries"`
}

// OpenRuntime loads ONNX Runtime's shared library, and others before it, and
// tells its version. It may be asked again with other libraries.
func OpenRuntime(requestJSON string) (ortVersion string, err error) {
	defer export(&err)
	var request runtimeRequest
	if err := fromJSON(requestJSON, &request); err != nil {
		return "", err
	}
	defer ort.KeepSignals()()
	if err := nvidia.Load(request.Libraries); err != nil {
		return "", err
	}
	if err := ort.Open(request.Path); err != nil {
		return "", err
	}
	return ort.Version(), nil
}

// RuntimeLibrary is the path of the library that [OpenRuntime] has loaded, or "".
func RuntimeLibrary() string { return ort.Library() }

// CheckDevice tells the names of devices that are there and of their precision,
// {"device": …, "precision": …}, and for one that is not what it lacks.
func CheckDevice(devices, precision string) (resolved string, err error) {
	defer export(&err)
	defer ort.KeepSignals()()
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

// driverReport is what NVIDIA's driver tells. Problem says why it can't be
// used, or is "".
type driverReport struct {
	Version int            `json:"version"`
	Devices []deviceReport `json:"devices"`
	Problem string         `json:"problem"`
}

type deviceReport struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Memory uint64 `json:"memory"`
	Major  int    `json:"major"`
	Minor  int    `json:"minor"`
}

// DescribeDriver tells of NVIDIA's driver and its devices. The library is the
// path of a libcuda of its own, which is then the process's, or "" for the
// system's. A driver that is not there, or too old, is no error here.
func DescribeDriver(library string) (report string, err error) {
	defer export(&err)
	defer ort.KeepSignals()()
	if library != "" {
		if err := nvidia.Load([]string{library}); err != nil {
			return "", err
		}
	}
	driver, problem := nvidia.Query()
	told := driverReport{Version: driver.Version, Devices: []deviceReport{}}
	for _, d := range driver.Devices {
		told.Devices = append(told.Devices, deviceReport(d))
	}
	if problem != nil {
		told.Problem = withoutPackages(strings.TrimSuffix(problem.Error(), ": "+nvidia.ErrDriver.Error()))
	}
	return toJSON(told)
}

package pybind

// version is the package's; the build sets it.
var version = "unknown"

// Version is the version of the native core.
func Version() string { return version }

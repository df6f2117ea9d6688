// Package pybind is the only package that gopy wraps.
package pybind

// Version returns the version of the native core.
func Version() string { return "0.1.0.dev0" }

// Start begins a job of the given kind and returns its handle.
func Start(kind, requestJSON string) (int64, error) { return int64(len(kind) + len(requestJSON)), nil }

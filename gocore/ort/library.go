package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	onnxruntime "github.com/yalue/onnxruntime_go"
)

// ErrLibrary: ONNX Runtime's shared library can't be used.
var ErrLibrary = errors.New("no usable ONNX Runtime library")

var library struct {
	sync.Mutex
	path string
}

// Open loads ONNX Runtime's shared library. One process can have one library:
// opening it again is fine, opening another is an error. Errors wrap
// [ErrLibrary].
func Open(path string) error {
	library.Lock()
	defer library.Unlock()
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("ONNX Runtime: library %q: %w: install the Python package onnxruntime, "+
			"or set SE600M_ORT_LIBRARY to a libonnxruntime.so: %w", path, err, ErrLibrary)
	}
	if library.path == resolved {
		return nil
	}
	if library.path != "" {
		return fmt.Errorf("ONNX Runtime: library %q: this process has already loaded %q and can't change it: "+
			"start a new process: %w", resolved, library.path, ErrLibrary)
	}
	if info, err := os.Stat(resolved); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("ONNX Runtime: library %q is not a file: %w", resolved, ErrLibrary)
	}
	onnxruntime.SetSharedLibraryPath(resolved)
	if err := onnxruntime.InitializeEnvironment(onnxruntime.WithLogLevelError()); err != nil {
		return fmt.Errorf("ONNX Runtime: library %q: %w: ONNX Runtime 1.24.1 or later is needed: %w", resolved, err, ErrLibrary)
	}
	library.path = resolved
	return nil
}

// Version is the version of the loaded library, or "" before [Open].
func Version() string {
	if Library() == "" {
		return ""
	}
	return onnxruntime.GetVersion()
}

// Library is the path of the loaded library, or "" before [Open].
func Library() string {
	library.Lock()
	defer library.Unlock()
	return library.path
}

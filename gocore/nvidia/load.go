package nvidia

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// ErrLibrary: a shared library can't be loaded.
var ErrLibrary = errors.New("library can't be loaded")

var loaded struct {
	sync.Mutex
	paths map[string]bool
}

// Load loads shared libraries by absolute path, in this order, for the life of
// the process. Who asks for one of them by its soname afterwards, as ONNX
// Runtime's provider does, gets the one that is loaded, wherever it lies. Each
// path is loaded once. Errors wrap [ErrLibrary] and name the file.
func Load(paths []string) error {
	loaded.Lock()
	defer loaded.Unlock()
	for _, path := range paths {
		if loaded.paths[path] {
			continue
		}
		if !filepath.IsAbs(path) { // the loader would search for it
			return fmt.Errorf("nvidia: library %q: the path must be absolute: %w", path, ErrLibrary)
		}
		if err := load(path); err != nil {
			return fmt.Errorf("nvidia: library %q can't be loaded: %w: %w", path, err, ErrLibrary)
		}
		if loaded.paths == nil {
			loaded.paths = map[string]bool{}
		}
		loaded.paths[path] = true
	}
	return nil
}

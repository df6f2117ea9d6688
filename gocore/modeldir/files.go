package modeldir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/internal/words"
)

// maxText bounds the text files, which are read whole. SE-600M's longest, its
// genes, has 150 KB.
const maxText = 64 << 20

// OpenFile opens one of a directory's files. A name or a link that leads out of
// the directory, a pipe and whatever else is no file are refused before anything
// is read. Errors wrap [ErrNotAModel].
func OpenFile(dir, name string) (file *os.File, size int64, err error) {
	fail := func(err error) (*os.File, int64, error) {
		return nil, 0, fmt.Errorf("model directory %q: %w: %w", dir, err, ErrNotAModel)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = root.Close() }()
	if size, err = sizeOf(root, name); err != nil {
		return fail(err)
	}
	if file, err = root.Open(name); err != nil {
		return fail(inWords(name, err))
	}
	return file, size, nil
}

// sizeOf makes sure that a name stands for a file of a directory.
func sizeOf(root *os.Root, name string) (int64, error) {
	if !filepath.IsLocal(name) {
		return 0, fmt.Errorf("the file %q lies outside the directory", name)
	}
	info, err := root.Stat(name)
	if err != nil {
		if _, outside := os.Stat(filepath.Join(root.Name(), name)); outside == nil {
			return 0, fmt.Errorf("%s is a link that leads out of the directory: copy the model with the files that its links stand for, "+
				"as `cp -rL` does", name)
		}
		return 0, inWords(name, err)
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a file", name)
	}
	return info.Size(), nil
}

// inWords names the file of an error rather than the call that failed.
func inWords(name string, err error) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// readText reads a text file whole.
func readText(dir, name string) ([]byte, error) {
	file, size, err := OpenFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if size > maxText {
		return nil, fmt.Errorf("model directory %q: %s has %s, which no model's has: %w", dir, name, words.Many(size, "byte"), ErrNotAModel)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxText))
	if err != nil {
		return nil, fmt.Errorf("model directory %q: %w: %w", dir, inWords(name, err), ErrNotAModel)
	}
	return text, nil
}

// checkFiles makes sure that files that a list names are there with their sizes.
func checkFiles(dir string, files map[string]FileInfo, list string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for name, want := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s refers to the file %q outside the directory", list, name)
		}
		size, err := sizeOf(root, name)
		if err != nil {
			return err
		}
		if size != want.Size {
			return fmt.Errorf("%s has %s instead of %s: convert the checkpoint again", name, words.Many(size, "byte"), words.Thousands(want.Size))
		}
	}
	return nil
}

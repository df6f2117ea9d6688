//go:build cgo

package nvidia_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/nvidia"
)

// A library that needs another is loaded once the other one is, wherever both lie.
func TestLoad(t *testing.T) {
	sources, first, second := t.TempDir(), t.TempDir(), t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(sources, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lower, upper := filepath.Join(first, "libse600mlower.so.1"), filepath.Join(second, "libse600mupper.so.1")
	compile(t, write("lower.c", "int lower(void) { return 0; }"), lower)
	compile(t, write("upper.c", "int lower(void); int upper(void) { return lower(); }"), upper, lower)
	text := filepath.Join(second, "libtext.so.1")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct{ path, part string }{
		"without what it needs": {upper, "libse600mlower.so.1: cannot open"},
		"nothing there":         {filepath.Join(first, "nowhere.so.1"), "cannot open"},
		"text":                  {text, "file too short"},
		"a bare name":           {"libse600mlower.so.1", "must be absolute"},
	} {
		err := nvidia.Load([]string{c.path})
		if !errors.Is(err, nvidia.ErrLibrary) || !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := nvidia.Load([]string{lower, upper}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(upper); err != nil {
		t.Fatal(err)
	}
	if err := nvidia.Load([]string{upper}); err != nil {
		t.Errorf("what is loaded already: %v", err)
	}
	if err := nvidia.Load(nil); err != nil {
		t.Error(err)
	}
}

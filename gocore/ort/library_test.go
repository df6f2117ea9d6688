package ort_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/ort"
)

func TestRefusedLibraries(t *testing.T) {
	text := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"nothing there": filepath.Join(t.TempDir(), "nowhere.so"), "a folder": t.TempDir(), "text": text,
	} {
		t.Run(name, func(t *testing.T) {
			if err := ort.Open(path); !errors.Is(err, ort.ErrLibrary) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A process has one library, so what comes before it and after it needs a
// process of its own.
func TestOpen(t *testing.T) {
	const child = "SE600M_TEST_OPEN"
	if os.Getenv(child) == "" {
		statetest.NeedRuntime(t)
		command := exec.Command(os.Args[0], "-test.run=^TestOpen$", "-test.count=1")
		command.Env = append(os.Environ(), child+"=1")
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if ort.Version() != "" || ort.Library() != "" {
		t.Errorf("version %q of %q before any was opened", ort.Version(), ort.Library())
	}
	if _, err := ort.NewSession(nil, ort.SessionOptions{Provider: provider(t)}); !errors.Is(err, ort.ErrLibrary) {
		t.Errorf("a session without a library: %v", err)
	}
	if _, err := ort.ResolveDevice("cuda", "auto"); !errors.Is(err, ort.ErrDevice) || !strings.Contains(err.Error(), "no ONNX Runtime library") {
		t.Errorf("a GPU without a library: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ort.Open(text); !errors.Is(err, ort.ErrLibrary) {
		t.Errorf("got %v", err)
	}
	path := os.Getenv("SE600M_ORT_LIBRARY")
	for range 2 {
		if err := ort.Open(path); err != nil {
			t.Fatalf("after one that is none, or again: %v", err)
		}
	}
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := ort.Open(link); err != nil {
		t.Errorf("under another name: %v", err)
	}
	if err := ort.Open(text); !errors.Is(err, ort.ErrLibrary) || !strings.Contains(err.Error(), "start a new process") {
		t.Errorf("another one: %v", err)
	}
}

func provider(t *testing.T) ort.Provider {
	t.Helper()
	p, err := ort.ResolveDevice("cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

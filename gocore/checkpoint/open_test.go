package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

func folder(t *testing.T) (string, *statetest.Model) {
	t.Helper()
	dir, m := t.TempDir(), statetest.NewModel(statetest.Small, "soft-bins", true)
	if err := m.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func open(t *testing.T, path string, o Options) *Checkpoint {
	t.Helper()
	c, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// same makes sure that a checkpoint is the model.
func same(t *testing.T, c *Checkpoint, m *statetest.Model) {
	t.Helper()
	if c.Config.EmSize != m.EmSize || c.Config.NHead != m.NHead || c.Config.PadLength != m.PadLength || c.Config.CLSTokenIdx != 3 {
		t.Errorf("config %+v of %+v", c.Config, m.Dims)
	}
	if !slices.Equal(c.Genes.Names, m.Genes) || c.Genes.Dim != m.TokenDim {
		t.Errorf("genes %q", c.Genes.Names)
	}
	row := make([]float32, m.TokenDim)
	if err := c.Genes.ReadRows(row, 3, 1); err != nil || !slices.Equal(row, m.Table[3]) {
		t.Errorf("gene 3: %v, %v", row, err)
	}
	if want := slices.Sorted(maps.Keys(m.Tensors)); !slices.Equal(slices.Sorted(maps.Keys(c.Tensors)), want) {
		t.Errorf("tensors %q, want %q", slices.Sorted(maps.Keys(c.Tensors)), want)
	}
	for name, stored := range m.Tensors {
		got := make([]float32, c.Tensors[name].NumElements())
		if err := c.Tensors[name].ReadFloat32(got, 0); err != nil || !slices.Equal(got, stored.Values()) {
			t.Errorf("tensor %q: differs, %v", name, err)
		}
	}
}

func TestOpenEveryContainer(t *testing.T) {
	dir, m := folder(t)
	ckpt := write(t, filepath.Join(t.TempDir(), "epoch=1.ckpt"), statetest.Torch(m.Lightning()))
	wrapped := m.Lightning()
	state := wrapped[1].Value.(statetest.Dict)
	for i, e := range state {
		state[i].Key = "model._orig_mod." + e.Key.(string)
	}
	old := statetest.Dict{wrapped[1], {Key: "hyper_parameters", Value: statetest.DictOf(
		"cfg", statetest.DictOf(
			"model", statetest.DictOf("emsize", m.EmSize, "nhead", 999),
			"dataset", statetest.DictOf("pad_length", m.PadLength)),
		"nhead", m.NHead,
	)}, wrapped[4]}
	for name, path := range map[string]string{
		"folder":            dir,
		"safetensors":       filepath.Join(dir, "model.safetensors"),
		"ckpt":              ckpt,
		"folder of a ckpt":  filepath.Dir(ckpt),
		"compiled, wrapped": write(t, filepath.Join(t.TempDir(), "x.ckpt"), statetest.Torch(wrapped)),
		"old configuration": write(t, filepath.Join(t.TempDir(), "x.ckpt"), statetest.Torch(old)),
	} {
		t.Run(name, func(t *testing.T) { same(t, open(t, path, Options{}), m) })
	}
}

func TestPrecedence(t *testing.T) {
	dir, m := folder(t)
	other := statetest.NewModel(statetest.Small, "scale", true)
	other.Genes[0] = "OTHER"
	config := write(t, filepath.Join(t.TempDir(), "mine.yaml"), []byte(other.Config()))
	genes := write(t, filepath.Join(t.TempDir(), "mine.pt"), statetest.Torch(other.GeneTable()))

	c := open(t, dir, Options{Config: config, ProteinEmbeddings: genes})
	if c.Config.ExpressionEncoding != "scale" || c.Genes.Names[0] != "OTHER" {
		t.Errorf("options lose to the folder: %+v, %q", c.Config, c.Genes.Names[0])
	}
	if want := []string{filepath.Join(dir, "model.safetensors"), config, genes}; !slices.Equal(c.Files, want) {
		t.Errorf("files %q, want %q", c.Files, want)
	}

	ckpt := write(t, filepath.Join(dir, "x.ckpt"), statetest.Torch(m.Lightning()))
	write(t, filepath.Join(dir, "config.yaml"), []byte(other.Config()))
	write(t, filepath.Join(dir, "protein_embeddings.pt"), statetest.Torch(other.GeneTable()))
	c = open(t, ckpt, Options{})
	if c.Config.ExpressionEncoding != "soft-bins" {
		t.Error("the checkpoint's own configuration loses to config.yaml beside it")
	}
	if c.Genes.Names[0] != "OTHER" {
		t.Error("protein_embeddings.pt loses to the checkpoint's own table")
	}
	if c := open(t, ckpt, Options{Config: config}); c.Config.ExpressionEncoding != "scale" {
		t.Error("the option loses to the checkpoint's own configuration")
	}
	if c := open(t, dir, Options{Name: "x.ckpt"}); c.Files[0] != ckpt {
		t.Errorf("picked %q", c.Files[0])
	}
}

func TestRefusedCheckpoints(t *testing.T) {
	_, m := folder(t)
	for _, c := range []struct {
		name    string
		prepare func(dir string) (path string, o Options)
		want    error
		says    string
	}{
		{"nothing there", func(dir string) (string, Options) { return filepath.Join(dir, "nowhere"), Options{} }, ErrNotFound, "nowhere"},
		{"another file", func(dir string) (string, Options) { return filepath.Join(dir, "config.yaml"), Options{} }, ErrMalformed, "neither a folder"},
		{"no such name", func(dir string) (string, Options) { return dir, Options{Name: "x.ckpt"} }, ErrNotFound, `"x.ckpt"`},
		{"empty folder", func(string) (string, Options) { return t.TempDir(), Options{} }, ErrNotFound, "no .safetensors or .ckpt"},
		{"two checkpoints", func(string) (string, Options) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "a.ckpt"), nil)
			write(t, filepath.Join(dir, "b.CKPT"), nil)
			return dir, Options{}
		}, ErrNotFound, "a.ckpt, b.CKPT"},
		{"weights are a folder", func(string) (string, Options) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "model.safetensors", "x"), nil)
			return dir, Options{}
		}, ErrNotFound, "is not a file"},
		{"no config", func(string) (string, Options) {
			return filepath.Dir(write(t, filepath.Join(t.TempDir(), "model.safetensors"), statetest.Safetensors(m.Tensors))), Options{}
		}, ErrConfig, "no config.yaml in the same folder"},
		{"empty config", func(dir string) (string, Options) {
			write(t, filepath.Join(dir, "config.yaml"), nil)
			return dir, Options{}
		}, ErrConfig, "it is empty"},
		{"a config of 100 GB", func(dir string) (string, Options) {
			if err := os.Truncate(filepath.Join(dir, "config.yaml"), 100e9); err != nil { // on the disk it takes nothing
				t.Fatal(err)
			}
			return dir, Options{}
		}, ErrConfig, "100000000000 bytes are more than any configuration has"},
		{"a pipe for weights", func(dir string) (string, Options) {
			path := filepath.Join(dir, "pipe.safetensors")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			return path, Options{}
		}, ErrNotFound, "is not a file"},
		{"a device for a config", func(dir string) (string, Options) {
			return dir, Options{Config: "/dev/zero"}
		}, ErrNotFound, "is not a file"},
		{"no such config", func(dir string) (string, Options) { return dir, Options{Config: "nowhere.yaml"} }, ErrNotFound, "nowhere.yaml"},
		{"no genes", func(dir string) (string, Options) {
			if err := os.Remove(filepath.Join(dir, "protein_embeddings.pt")); err != nil {
				t.Fatal(err)
			}
			return dir, Options{}
		}, ErrGeneTable, "gene table is missing"},
		{"genes cut off", func(dir string) (string, Options) {
			write(t, filepath.Join(dir, "protein_embeddings.pt"), []byte("PK"))
			return dir, Options{}
		}, ErrMalformed, "protein_embeddings.pt"},
		{"a list for a checkpoint", func(dir string) (string, Options) {
			return write(t, filepath.Join(dir, "x.ckpt"), statetest.Torch(statetest.List{})), Options{}
		}, ErrMalformed, "does not contain a dict"},
		{"a list for a state dict", func(dir string) (string, Options) {
			file := statetest.Torch(statetest.DictOf("state_dict", statetest.List{}))
			return write(t, filepath.Join(dir, "x.ckpt"), file), Options{}
		}, ErrMalformed, "state_dict is not a dict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := folder(t)
			path, o := c.prepare(dir)
			_, err := Open(path, o)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

func TestLicences(t *testing.T) {
	dir, _ := folder(t)
	want := []string{}
	for _, name := range []string{"LICENSE", "MODEL_ACCEPTABLE_USE_POLICY.md", "README.md", "notice.txt"} {
		want = append(want, write(t, filepath.Join(dir, name), []byte(name)))
	}
	write(t, filepath.Join(dir, "licences", "x"), nil) // a folder is none
	for name, to := range map[string]string{"README.zero": "/dev/zero", "README.gone": "gone", "README.folder": "licences"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if c := open(t, dir, Options{}); !slices.Equal(c.Licences, want) {
		t.Errorf("%q, want %q", c.Licences, want)
	}
}

func TestSHA256(t *testing.T) {
	dir, _ := folder(t)
	c := open(t, dir, Options{})
	sums, err := c.SHA256(t.Context())
	if err != nil || len(sums) != 3 {
		t.Fatalf("%v, %v", sums, err)
	}
	for name, got := range sums {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); got != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: %s", name, got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.SHA256(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SHA256(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestClosedCheckpoints(t *testing.T) {
	dir, _ := folder(t)
	c := open(t, dir, Options{})
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if err := c.Tensors["decoder.1.bias"].ReadFloat32(make([]float32, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A folder as the released model has it, of small dimensions.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := statetest.NewModel(statetest.Small, "soft-bins", true).WriteFolder(dir); err != nil {
		panic(err)
	}

	c, err := Open(dir, Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = c.Close() }()
	projection := c.Tensors["encoder.0.weight"]
	row := make([]float32, projection.Shape[1])
	if err := projection.ReadFloat32(row, 0); err != nil {
		panic(err)
	}
	fmt.Println(projection.Shape, projection.DType.Name, len(row))
	fmt.Println(c.Genes.Len(), c.Genes.Names[0], c.Config.NHead, c.Config.ExpressionEncoding)
	// Output:
	// [16 12] float32 12
	// 40 GENE0 4 soft-bins
}

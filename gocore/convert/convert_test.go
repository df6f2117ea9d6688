package convert_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// folder writes a checkpoint.
func folder(t *testing.T, m *statetest.Model) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := m.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func small(t *testing.T) string {
	t.Helper()
	return folder(t, statetest.NewModel(statetest.Small, "soft-bins", true))
}

// files lists what is in a folder, folders within included.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestConvert(t *testing.T) {
	statetest.NeedRuntime(t)
	m := statetest.NewModel(statetest.Small, "soft-bins", true)
	src := folder(t, m)
	if err := os.WriteFile(filepath.Join(src, "LICENSE"), []byte("not for sale"), 0o644); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "new", "converted")
	if err := convert.Convert(t.Context(), src, dst, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	config, genes, err := modeldir.Read(dst)
	if err != nil {
		t.Fatal(err)
	}
	want := modeldir.Dimensions{
		NGenes: m.NGenes, TokenDim: m.TokenDim, EmSize: m.EmSize, DHid: m.DHid, NHead: m.NHead, NLayers: m.NLayers,
		OutputDim: m.OutputDim, DatasetDim: 10, PadLength: m.PadLength, CLSTokenIdx: 3,
	}
	if config.Dimensions != want || config.Name != "small" || config.ExpressionEncoding != "soft-bins" {
		t.Errorf("%q, %s, %+v; want %+v", config.Name, config.ExpressionEncoding, config.Dimensions, want)
	}
	if !slices.Equal(genes, m.Genes) {
		t.Errorf("genes %q", genes)
	}
	for name, info := range config.Files {
		if got, err := modeldir.Describe(filepath.Join(dst, name)); err != nil || got != info {
			t.Errorf("%s: %+v, %v; the configuration has %+v", name, got, err, info)
		}
	}
	if got := read(t, filepath.Join(dst, modeldir.LicenceDir, "LICENSE")); got != "not for sale" {
		t.Errorf("licence %q", got)
	}
	if len(config.Source.SHA256) != 3 || !slices.Equal(config.Source.Licences, []string{"LICENSE"}) {
		t.Errorf("source %+v", config.Source)
	}
	if left := files(t, filepath.Dir(dst)); slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, "unfinished") }) {
		t.Errorf("left over: %q", left)
	}
	if info, err := os.Stat(dst); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestConvertTwiceGivesTheSameBytes(t *testing.T) {
	statetest.NeedRuntime(t)
	src, dir := small(t), t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, dst := range []string{a, b} {
		if err := convert.Convert(t.Context(), src, dst, convert.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	names := files(t, a)
	if !slices.Equal(names, files(t, b)) {
		t.Fatalf("%q and %q", names, files(t, b))
	}
	for _, name := range names {
		if name != modeldir.LicenceDir && read(t, filepath.Join(a, name)) != read(t, filepath.Join(b, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestProgress(t *testing.T) {
	statetest.NeedRuntime(t)
	var last, total int64
	err := convert.Convert(t.Context(), small(t), filepath.Join(t.TempDir(), "x"), convert.Options{Progress: func(done, of int64) {
		if done < last || done > of || total != 0 && of != total {
			t.Errorf("%d of %d after %d of %d", done, of, last, total)
		}
		last, total = done, of
	}})
	if err != nil || last != total || total == 0 {
		t.Errorf("ended at %d of %d: %v", last, total, err)
	}
}

// interrupted converts, and makes sure that nothing is left where that ends early.
// stop is called with the number of times that progress was told.
func interrupted(t *testing.T, stop func(cancel func(), call int)) error {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = errors.New("panic")
			}
		}()
		return convert.Convert(ctx, small(t), filepath.Join(dir, "converted"), convert.Options{Progress: func(int64, int64) {
			calls++
			stop(cancel, calls)
		}})
	}()
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	return err
}

func TestCancelLeavesNothing(t *testing.T) {
	statetest.NeedRuntime(t)
	calls := 0
	if err := convert.Convert(t.Context(), small(t), filepath.Join(t.TempDir(), "x"), convert.Options{Progress: func(int64, int64) { calls++ }}); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{1, 2, calls / 2, calls - 1, calls} {
		err := interrupted(t, func(cancel func(), call int) {
			if call == at {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d of %d: got %v", at, calls, err)
		}
	}
}

func TestPanicLeavesNothing(t *testing.T) {
	statetest.NeedRuntime(t)
	err := interrupted(t, func(_ func(), call int) {
		if call == 3 {
			panic("deliberate")
		}
	})
	if err == nil || err.Error() != "panic" {
		t.Errorf("got %v", err)
	}
}

func TestDestinations(t *testing.T) {
	statetest.NeedRuntime(t)
	src := small(t)
	for _, c := range []struct {
		name      string
		prepare   func(dst string) error
		overwrite bool
		refused   bool
	}{
		{"nothing", func(string) error { return nil }, false, false},
		{"nothing to overwrite", func(string) error { return nil }, true, false},
		{"an empty folder", func(dst string) error { return os.Mkdir(dst, 0o755) }, false, false},
		{"an empty folder to overwrite", func(dst string) error { return os.Mkdir(dst, 0o755) }, true, false},
		{"a file", func(dst string) error { return os.WriteFile(dst, []byte("x"), 0o644) }, false, true},
		{"a file to overwrite", func(dst string) error { return os.WriteFile(dst, []byte("x"), 0o644) }, true, true},
		{"a folder of something else", func(dst string) error {
			return errors.Join(os.Mkdir(dst, 0o755), os.WriteFile(filepath.Join(dst, "thesis.txt"), nil, 0o644))
		}, true, true},
		{"a model", func(dst string) error { return convert.Convert(t.Context(), src, dst, convert.Options{}) }, false, true},
		{"a model to overwrite", func(dst string) error { return convert.Convert(t.Context(), src, dst, convert.Options{}) }, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "converted")
			if err := c.prepare(dst); err != nil {
				t.Fatal(err)
			}
			before := files(t, filepath.Dir(dst))
			err := convert.Convert(t.Context(), src, dst, convert.Options{ModelName: "second", Overwrite: c.overwrite})
			after := files(t, filepath.Dir(dst))
			if c.refused {
				if !errors.Is(err, convert.ErrExists) || !strings.Contains(err.Error(), dst) || !slices.Equal(before, after) {
					t.Errorf("got %v; before %q, after %q", err, before, after)
				}
				return
			}
			config, _, readErr := modeldir.Read(dst)
			if err != nil || readErr != nil || config.Name != "second" {
				t.Errorf("got %v, %v", err, readErr)
			}
			if slices.ContainsFunc(after, func(name string) bool { return strings.Contains(name, "unfinished") }) {
				t.Errorf("left over: %q", after)
			}
		})
	}
}

// A conversion that fails leaves the model that it was to replace.
func TestOverwriteFails(t *testing.T) {
	statetest.NeedRuntime(t)
	src, dst := small(t), filepath.Join(t.TempDir(), "converted")
	if err := convert.Convert(t.Context(), src, dst, convert.Options{ModelName: "first"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := convert.Convert(ctx, src, dst, convert.Options{ModelName: "second", Overwrite: true, Progress: func(int64, int64) { cancel() }})
	if config, _, readErr := modeldir.Read(dst); !errors.Is(err, context.Canceled) || readErr != nil || config.Name != "first" {
		t.Errorf("got %v, %v", err, readErr)
	}
}

func TestTwoConversionsIntoOnePlace(t *testing.T) {
	statetest.NeedRuntime(t)
	src, dst := small(t), filepath.Join(t.TempDir(), "converted")
	errs := make([]error, 3)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = convert.Convert(t.Context(), src, dst, convert.Options{}) })
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, convert.ErrExists) {
			t.Errorf("got %v", err)
		}
	}
	if _, _, err := modeldir.Read(dst); err != nil || won != 1 {
		t.Errorf("%d of %d came through, %v", won, len(errs), err)
	}
	if left := files(t, filepath.Dir(dst)); slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, "unfinished") }) {
		t.Errorf("left over: %q", left)
	}
}

func TestGeneSymbolsWithLineBreaks(t *testing.T) {
	m := statetest.NewModel(statetest.Small, "soft-bins", true)
	m.Genes[7] = "CD3\nD"
	err := convert.Convert(t.Context(), folder(t, m), filepath.Join(t.TempDir(), "x"), convert.Options{})
	if !errors.Is(err, checkpoint.ErrGeneTable) || !strings.Contains(err.Error(), `"CD3\nD"`) {
		t.Errorf("got %v", err)
	}
}

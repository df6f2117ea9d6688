package embed

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
)

// Converted converts a small random checkpoint.
func Converted(t *testing.T, dims statetest.Dims, encoding string, dataset bool) (dir string) {
	t.Helper()
	statetest.NeedRuntime(t)
	src, dir := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "converted")
	if err := statetest.NewModel(dims, encoding, dataset).WriteFolder(src); err != nil {
		t.Fatal(err)
	}
	if err := convert.Convert(t.Context(), src, dir, convert.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// OpenConverted opens a model until the test ends.
func OpenConverted(t *testing.T, dir string) *Model {
	t.Helper()
	m, err := Open(dir, "cpu", "auto")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// laneOf is a lane of some threads.
func laneOf(m *Model, threads int) *lane {
	traits := m.devices[0].provider.Traits(m.Config.Dimensions, m.Config.Dimensions.EmSize, threads)
	traits.ThreadsPerRun = threads
	return newLane(m, m.devices[0], traits, 0)
}

func openSmall(t *testing.T) *Model {
	t.Helper()
	return OpenConverted(t, Converted(t, statetest.Small, "none", false))
}

// A session is kept while uses need it, and closed when a later one needs
// another.
func TestSessionsThatNothingNeedsAreClosed(t *testing.T) {
	m := openSmall(t)
	key := func(v modeldir.Variant, threads int) sessionKey {
		l := laneOf(m, threads)
		return sessionKey{l.device.provider, l.form, v, threads, bounds{}}
	}
	dense1, dense2, weighted2 := key(modeldir.Dense, 1), key(modeldir.Dense, 2), key(modeldir.Weighted, 2)
	for _, step := range []struct {
		name        string
		needs, open []sessionKey
	}{
		{"one", []sessionKey{dense1}, []sessionKey{dense1}},
		{"the same", []sessionKey{dense1, dense1}, []sessionKey{dense1}},
		{"other threads", []sessionKey{dense2}, []sessionKey{dense2}},
		{"two graphs", []sessionKey{dense2, weighted2}, []sessionKey{dense2, weighted2}},
		{"one of the two", []sessionKey{weighted2}, []sessionKey{dense2, weighted2}},
		{"and another", []sessionKey{weighted2, dense1}, []sessionKey{weighted2, dense1}},
	} {
		if err := m.begin(); err != nil {
			t.Fatal(err)
		}
		for _, key := range step.needs {
			if _, err := m.session(t.Context(), laneOf(m, key.threads), key.variant); err != nil {
				t.Fatal(err)
			}
		}
		m.end()
		open := slices.Collect(maps.Keys(m.sessions.open))
		if len(open) != len(step.open) || slices.ContainsFunc(step.open, func(k sessionKey) bool { return !slices.Contains(open, k) }) {
			t.Errorf("%s: open are %v, want %v", step.name, open, step.open)
		}
	}
}

// What a running use has open stays, whatever others begin and end meanwhile.
func TestSessionsInUseStayOpen(t *testing.T) {
	m := openSmall(t)
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	first, err := m.session(t.Context(), laneOf(m, 1), modeldir.Dense)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.session(t.Context(), laneOf(m, 2), modeldir.Dense); err != nil {
		t.Fatal(err)
	}
	m.end()
	again, err := m.session(t.Context(), laneOf(m, 1), modeldir.Dense)
	if err != nil || again != first {
		t.Errorf("got %p, %v; want %p", again, err, first)
	}
	m.end()
}

// An opening can't be stopped, but who waits for it can leave; whoever comes
// later finds it, and Close waits for it.
func TestLeavingAnOpening(t *testing.T) {
	m := openSmall(t)
	l := laneOf(m, 1)
	key := sessionKey{l.device.provider, l.form, modeldir.Dense, l.threads, bounds{}}
	release := make(chan struct{})
	if _, err := m.sessions.find(key, func() (*ort.Session, error) {
		<-release
		return m.newSession(l, key.variant)
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.session(ctx, l, key.variant); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	closed := make(chan error)
	go func() { closed <- m.Close() }()
	select {
	case err := <-closed:
		t.Errorf("closed while a graph was being opened: %v", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// After an opening that failed or panicked the next one tries again.
func TestOpeningsThatFail(t *testing.T) {
	m := openSmall(t)
	l := laneOf(m, 1)
	key := sessionKey{l.device.provider, l.form, modeldir.Dense, l.threads, bounds{}}
	for name, open := range map[string]func() (*ort.Session, error){
		"an error": func() (*ort.Session, error) { return nil, ort.ErrSession },
		"a panic":  func() (*ort.Session, error) { panic("a deliberate panic") },
	} {
		o, err := m.sessions.find(key, open)
		if err != nil {
			t.Fatal(err)
		}
		<-o.ready
		if !errors.Is(o.err, ort.ErrSession) && !errors.Is(o.err, safego.ErrPanic) {
			t.Errorf("%s: got %v", name, o.err)
		}
	}
	if _, err := m.session(t.Context(), l, key.variant); err != nil {
		t.Error(err)
	}
}

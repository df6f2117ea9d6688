package safego_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/safego"
)

var errOrdinary = errors.New("an ordinary error")

func noMap() map[string]int { return nil }

// panics has every kind of panic that Go has.
var panics = map[string]struct {
	f    func() error
	says string
}{
	"a value":          {func() error { panic("a deliberate panic") }, "a deliberate panic"},
	"an error":         {func() error { panic(errOrdinary) }, "an ordinary error"},
	"nil":              {func() error { panic(nil) }, "nil"},
	"past the end":     {func() error { _ = make([]int, 3)[len(errOrdinary.Error())]; return nil }, "index out of range"},
	"a nil map":        {func() error { noMap()["a"] = 1; return nil }, "nil map"},
	"a null address":   {func() error { _ = *(*int)(nil); return nil }, "nil pointer"},
	"a closed channel": {func() error { c := make(chan int); close(c); close(c); return nil }, "closed channel"},
}

func TestPanicsBecomeErrors(t *testing.T) {
	for name, c := range panics {
		t.Run(name, func(t *testing.T) {
			group := safego.NewGroup()
			group.Go(c.f)
			limited, ctx := safego.WithContext(t.Context())
			limited.SetLimit(1)
			limited.Go(c.f)
			ended := make(chan error)
			safego.Go(c.f, func(err error) { ended <- err })
			for how, err := range map[string]error{
				"Do": safego.Do(c.f), "Go": <-ended, "Group": group.Wait(), "Group with a context": limited.Wait(),
			} {
				if !errors.Is(err, safego.ErrPanic) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "safego_test.go") {
					t.Errorf("%s: got %v; want one saying %q, and where", how, err, c.says)
				}
			}
			if ctx.Err() == nil {
				t.Error("the context goes on")
			}
		})
	}
}

func TestErrorsStayAsTheyAre(t *testing.T) {
	for _, want := range []error{nil, errOrdinary} {
		f := func() error { return want }
		group := safego.NewGroup()
		group.Go(f)
		ended := make(chan error)
		safego.Go(f, func(err error) { ended <- err })
		for how, err := range map[string]error{"Do": safego.Do(f), "Go": <-ended, "Group": group.Wait()} {
			if err != want { //nolint:errorlint // the very same
				t.Errorf("%s: got %v, want %v", how, err, want)
			}
		}
	}
}

// The others of a group are told to end, and the panic is what Wait returns.
func TestAPanicEndsTheGroup(t *testing.T) {
	group, ctx := safego.WithContext(context.Background())
	for range 3 {
		group.Go(func() error {
			<-ctx.Done()
			return ctx.Err()
		})
	}
	group.Go(func() error { panic("a deliberate panic") })
	if err := group.Wait(); !errors.Is(err, safego.ErrPanic) {
		t.Errorf("got %v", err)
	}
}

package ort

import (
	"context"
	"errors"
	"testing"

	"github.com/se600m/se600m-go/gocore/safego"
)

func TestTerminable(t *testing.T) {
	errEnded := errors.New("ended")
	t.Run("to its end", func(t *testing.T) {
		terminate := func() error { t.Error("terminated"); return nil }
		for _, want := range []error{nil, errEnded} {
			if err := terminable(t.Context(), terminate, func() error { return want }); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	})
	t.Run("terminated", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		err := terminable(ctx, func() error { close(end); return nil }, func() error {
			cancel()
			<-end
			return errEnded
		})
		if !errors.Is(err, errEnded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a panic of the watcher", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan struct{})
		err := terminable(ctx, func() error { defer close(end); panic("a deliberate panic") }, func() error {
			cancel()
			<-end
			return errEnded
		})
		if !errors.Is(err, safego.ErrPanic) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a panic of the run", func(t *testing.T) {
		err := safego.Do(func() error {
			terminate := func() error { t.Error("terminated"); return nil }
			return terminable(t.Context(), terminate, func() error { panic("a deliberate panic") })
		})
		if !errors.Is(err, safego.ErrPanic) {
			t.Errorf("got %v", err)
		}
	})
}

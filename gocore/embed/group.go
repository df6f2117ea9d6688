package embed

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// ErrPanic: a goroutine of the pipeline panicked, which is a defect of this
// package or of a callback.
var ErrPanic = errors.New("internal error")

// group is an errgroup in which a panic becomes an error. In a goroutine of its
// own a panic can't be recovered by whoever waits, and would end the process.
type group struct{ *errgroup.Group }

func newGroup(ctx context.Context) (group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return group{g}, ctx
}

// Go runs f in a goroutine.
func (g group) Go(f func() error) {
	g.Group.Go(func() error { return recovered(f) })
}

// recovered runs f and makes an error of a panic.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("embed: panic: %v: %w\n%s", p, ErrPanic, debug.Stack())
		}
	}()
	return f()
}

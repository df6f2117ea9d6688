package safego

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// ErrPanic: code panicked, which is a defect of it or of a callback.
var ErrPanic = errors.New("internal error")

// Panicked makes an error of what a deferred function has recovered. It must be
// called there, so that the stack is the one that panicked.
func Panicked(recovered any) error {
	return fmt.Errorf("panic: %v: %w\n%s", recovered, ErrPanic, debug.Stack())
}

// Do runs f in this goroutine. A panic becomes an error.
func Do(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Panicked(p)
		}
	}()
	return f()
}

// Go runs f in a goroutine of its own, and has it hand f's error to ended, which
// is always called and must do nothing that can fail.
func Go(f func() error, ended func(error)) {
	go func() { ended(Do(f)) }()
}

// Group is goroutines that work on parts of one thing: an errgroup in which a
// panic becomes an error. [NewGroup] and [WithContext] make one.
type Group struct{ group *errgroup.Group }

// NewGroup makes a group whose goroutines all run to their end.
func NewGroup() *Group { return &Group{new(errgroup.Group)} }

// WithContext makes a group with a context that ends with the group's first
// error, and when [Group.Wait] returns.
func WithContext(ctx context.Context) (*Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &Group{group}, ctx
}

// SetLimit has [Group.Go] wait while n goroutines run.
func (g *Group) SetLimit(n int) { g.group.SetLimit(n) }

// Go runs f in a goroutine of the group.
func (g *Group) Go(f func() error) {
	g.group.Go(func() error { return Do(f) })
}

// Wait waits for all goroutines, and returns the first error.
func (g *Group) Wait() error { return g.group.Wait() }

package pybind

import (
	"context"

	"github.com/se600m/se600m-go/gocore/safego"
)

// Fail panics: tests make sure with it that a panic reaches Python as an error.
func Fail() (unused int64, err error) {
	defer export(&err)
	panic("a deliberate panic")
}

// failRequest says where a job of kind "fail" panics.
type failRequest struct {
	// Goroutine: in a goroutine that the job starts, not in the job's own.
	Goroutine bool `json:"goroutine"`
}

// work is [Fail] for what runs in the background.
func (r *failRequest) work() (work, error) { //nolint:unparam // as every request has it
	return func(ctx context.Context, _ *job) (any, error) {
		if !r.Goroutine {
			panic("a deliberate panic in a job")
		}
		group, _ := safego.WithContext(ctx)
		group.Go(func() error { panic("a deliberate panic in a goroutine") })
		return nil, group.Wait()
	}, nil
}

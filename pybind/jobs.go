package pybind

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/se600m/se600m-go/gocore/notice"
	"github.com/se600m/se600m-go/gocore/safego"
)

// job is work under way.
type job struct {
	cancel      context.CancelFunc
	ended       chan struct{}
	done, total atomic.Int64
	report      any
	err         error
}

// progress makes the callback that counts what is done of a total.
func (j *job) progress(total int) func(n int) {
	j.total.Store(int64(total))
	return func(n int) { j.done.Add(int64(n)) }
}

var jobs = handles[*job]{what: "job"}

// work does a job. It reports progress through the job.
type work func(ctx context.Context, j *job) (report any, err error)

// begin runs work in the background.
func begin(w work) int64 {
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{cancel: cancel, ended: make(chan struct{})}
	safego.Go(func() (err error) {
		j.report, err = w(ctx, j)
		return err
	}, func(err error) {
		j.err = err
		cancel()
		close(j.ended)
	})
	return jobs.add(j)
}

// Wait waits up to some milliseconds for a job to end, and tells how far it
// is: {"ended": bool, "done": n, "total": n, "notices": [text, …]}.
func Wait(handle, milliseconds int64) (state string, err error) {
	defer export(&err)
	j, err := jobs.get(handle)
	if err != nil {
		return "", err
	}
	select {
	case <-j.ended:
	case <-time.After(time.Duration(milliseconds) * time.Millisecond):
	}
	ended := false
	select { // both may have come true
	case <-j.ended:
		ended = true
	default:
	}
	return toJSON(map[string]any{"ended": ended, "done": j.done.Load(), "total": j.total.Load(), "notices": notice.Take()})
}

// Cancel asks a job to end. [Finish] must still be called.
func Cancel(handle int64) (unused int64, err error) {
	defer export(&err)
	j, err := jobs.get(handle)
	if err == nil {
		j.cancel()
	}
	return 0, err
}

// Finish waits for a job's end, forgets it, and returns its report. After that
// no memory of the job is in use.
func Finish(handle int64) (report string, err error) {
	defer export(&err)
	j, err := jobs.take(handle)
	if err != nil {
		return "", err
	}
	<-j.ended
	if j.err != nil {
		return "", j.err
	}
	return toJSON(j.report)
}

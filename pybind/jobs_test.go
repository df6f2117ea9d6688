package pybind

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"
)

type progress struct {
	Ended       bool
	Done, Total int64
}

func wait(t *testing.T, job, milliseconds int64) (p progress) {
	t.Helper()
	text, err := Wait(job, milliseconds)
	if err == nil {
		err = json.Unmarshal([]byte(text), &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestJob(t *testing.T) {
	going, end := make(chan struct{}), make(chan struct{})
	job := begin(func(_ context.Context, j *job) (any, error) {
		j.total.Store(10)
		j.done.Store(4)
		close(going)
		<-end
		j.done.Store(10)
		return map[string]int{"n": 3}, nil
	})
	<-going
	if p := wait(t, job, 1); p != (progress{false, 4, 10}) {
		t.Errorf("meanwhile: %+v", p)
	}
	close(end)
	if p := wait(t, job, 60_000); p != (progress{true, 10, 10}) {
		t.Errorf("at the end: %+v", p)
	}
	if p := wait(t, job, -1); !p.Ended {
		t.Errorf("no time to wait: %+v", p)
	}
	if report, err := Finish(job); err != nil || report != `{"n":3}` {
		t.Errorf("%s, %v", report, err)
	}
	_, err := Finish(job)
	refused(t, err, "closed", "job")
	_, err = Wait(job, 1)
	refused(t, err, "closed", "job")
	_, err = Cancel(job)
	refused(t, err, "closed", "job")
}

func TestCancel(t *testing.T) {
	job := begin(func(ctx context.Context, _ *job) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for range 2 {
		if _, err := Cancel(job); err != nil {
			t.Fatal(err)
		}
	}
	if p := wait(t, job, 60_000); !p.Ended {
		t.Fatal("it goes on")
	}
	_, err := Finish(job)
	refused(t, err, "canceled", "context canceled")
}

// Finish without Wait is how Python ends a job that it cancelled: memory must
// not be let go of before the job has ended.
func TestFinishWaits(t *testing.T) {
	var ended atomic.Bool
	job := begin(func(context.Context, *job) (any, error) {
		time.Sleep(20 * time.Millisecond)
		ended.Store(true)
		return nil, nil
	})
	if report, err := Finish(job); err != nil || report != "null" || !ended.Load() {
		t.Errorf("%s, %v, ended: %v", report, err, ended.Load())
	}
}

func TestAPanicInAJob(t *testing.T) {
	job := begin(func(context.Context, *job) (any, error) {
		var none []int
		return none[3], nil
	})
	if p := wait(t, job, 60_000); !p.Ended {
		t.Fatal("it goes on")
	}
	_, err := Finish(job)
	refused(t, err, "internal", "index out of range [3]")
}

// Wherever the panic is, the process lives.
func TestDeliberatePanics(t *testing.T) {
	for request, says := range map[string]string{
		`{"goroutine": false}`: "a deliberate panic in a job", `{"goroutine": true}`: "a deliberate panic in a goroutine",
	} {
		job, err := Start("fail", request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Finish(job)
		refused(t, err, "internal", says)
		refused(t, err, "internal", "fail.go") // where it was
	}
}

func TestAReportThatIsNoJSON(t *testing.T) {
	_, err := Finish(begin(func(context.Context, *job) (any, error) { return make(chan int), nil }))
	refused(t, err, "internal", "chan int")
}

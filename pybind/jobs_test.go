package pybind

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHandles(t *testing.T) {
	h := handles[string]{what: "thing"}
	if _, err := h.get(1); !errors.Is(err, errHandle) || err.Error() != "pybind: thing 1 is closed, or never was: unknown handle" {
		t.Errorf("before any: %v", err)
	}
	a, b := h.add("a"), h.add("b")
	if a == b || a == 0 || b == 0 {
		t.Errorf("handles %d and %d", a, b)
	}
	for range 2 {
		if v, err := h.get(b); v != "b" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	}
	if v, err := h.take(a); v != "a" || err != nil {
		t.Errorf("took %q, %v", v, err)
	}
	for _, again := range []func(int64) (string, error){h.get, h.take} {
		if _, err := again(a); !errors.Is(err, errHandle) {
			t.Errorf("after it was taken: %v", err)
		}
	}
	if c := h.add("c"); c == a || c == b {
		t.Errorf("handle %d is given again", c)
	}
}

func TestAHandleIsTakenOnce(t *testing.T) {
	h := handles[int]{what: "thing"}
	for range 500 {
		handle := h.add(1)
		var taken atomic.Int32
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, err := h.take(handle); err == nil {
					taken.Add(1)
				}
			})
		}
		group.Wait()
		if n := taken.Load(); n != 1 {
			t.Fatalf("taken %d times", n)
		}
	}
}

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

func TestAReportThatIsNoJSON(t *testing.T) {
	_, err := Finish(begin(func(context.Context, *job) (any, error) { return make(chan int), nil }))
	refused(t, err, "internal", "chan int")
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	for _, c := range []struct{ name, kind, request, code, says string }{
		{"no JSON", "embed", "{", "internal", "request"},
		{"another kind", "dance", "{}", "internal", `"dance"`},
		{"no model", "embed", "{}", "closed", "model 0"},
		{"a closed model", "tokenize", `{"model": 99}`, "closed", "model 99"},
		{"sentences for no model", "embed_sentences", "{}", "closed", "model 0"},
		{"a trace of no model", "trace", "{}", "closed", "model 0"},
		{"a plan of no model", "plan", "{}", "closed", "model 0"},
		{"a number for a list", "embed", `{"stages": 1}`, "internal", "stages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Start(c.kind, c.request)
			refused(t, err, c.code, c.says)
		})
	}
	job, err := Start("convert", `{"source": "nowhere.ckpt", "destination": "nowhere"}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Finish(job)
	refused(t, err, "checkpoint-not-found", "nowhere.ckpt")
}

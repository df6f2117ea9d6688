package embed

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
)

// device is one that a model runs on.
type device struct {
	provider ort.Provider
	// most is how many tokens a batch has at most since one did not fit; 0: all fit.
	most    atomic.Int64
	mu      sync.Mutex
	threads []*thread
}

// lower notes that a batch of some tokens did not fit.
func (d *device) lower(tokens int) {
	for {
		most := d.most.Load()
		if most != 0 && most <= int64(tokens/2) || d.most.CompareAndSwap(most, int64(max(1, tokens/2))) {
			return
		}
	}
}

// thread is the i-th of the device's own threads, which is started when it is
// first asked for.
func (d *device) thread(i int) *thread {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.threads) <= i {
		d.threads = append(d.threads, newThread())
	}
	return d.threads[i]
}

// end ends the device's threads. Nothing may use them any more.
func (d *device) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.threads {
		close(t.work)
	}
	d.threads = nil
}

// thread is a thread of the operating system that does one thing after another.
// What GPU libraries prepare for a thread stays there: a goroutine that moves to
// another one, or a new one for each job, would have it prepared again.
type thread struct{ work chan func() }

func newThread() *thread {
	t := &thread{make(chan func())}
	safego.Go(func() error {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		for f := range t.work {
			f()
		}
		return nil
	}, func(error) {}) // f recovers
	return t
}

// do runs f on the thread. A panic becomes an error.
func (t *thread) do(f func() error) (err error) {
	done := make(chan struct{})
	t.work <- func() {
		defer close(done)
		err = safego.Do(f)
	}
	<-done
	return err
}

package embed

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/se600m/se600m-go/gocore/graph"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/safego"
)

// sessions keeps a model's open graphs, each with a prepared copy of the
// weights, which at full size are gigabytes. So what ended uses opened is
// closed when a later one needs something else.
type sessions struct {
	mu     sync.Mutex
	idle   sync.Cond // signalled when a use ends
	uses   int
	closed bool
	open   map[sessionKey]*openSession
}

type sessionKey struct {
	provider ort.Provider
	form     modeldir.Form
	variant  modeldir.Variant
	threads  int
	bounds   bounds
}

// openSession is a session, or will be one.
type openSession struct {
	ready   chan struct{} // closed once the others are set
	session *ort.Session
	err     error
	// left: every use that needed it has ended.
	left bool
}

// begin notes a use, which keeps the model open until end.
func (m *Model) begin() error {
	s := &m.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("embed: model %q: %w", m.Config.Name, ErrClosed)
	}
	if s.uses == 0 {
		for _, o := range s.open {
			o.left = true
		}
	}
	s.uses++
	return nil
}

func (m *Model) end() {
	s := &m.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses--
	s.idle.Broadcast()
}

// Close frees the sessions once every use has ended. It may be called twice.
func (m *Model) Close() error {
	s := &m.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.uses > 0 {
		s.idle.Wait()
	}
	for _, d := range m.devices {
		d.end()
	}
	return s.free(func(*openSession) bool { return true })
}

// free closes some sessions that no use needs.
func (s *sessions) free(which func(*openSession) bool) error {
	var errs []error
	for key, o := range s.open {
		if which(o) {
			errs = append(errs, o.session.Close())
			delete(s.open, key)
		}
	}
	return errors.Join(errs...)
}

// session opens a graph for a lane, or finds it open: lanes of one device share
// it. Opening takes seconds at full size and can't be stopped: when the context
// ends it goes on in the background, as a use of its own.
func (m *Model) session(ctx context.Context, l *lane, v modeldir.Variant) (*ort.Session, error) {
	o, err := m.sessions.find(sessionKey{l.device.provider, l.form, v, l.threads, l.bounds}, func() (*ort.Session, error) { return m.newSession(l, v) })
	if err != nil {
		return nil, err
	}
	select {
	case <-o.ready:
		return o.session, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("embed: %w", ctx.Err())
	}
}

// find finds a session, or begins to open it.
func (s *sessions) find(key sessionKey, open func() (*ort.Session, error)) (*openSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[key]; o != nil {
		o.left = false
		return o, nil
	}
	if err := s.free(func(o *openSession) bool { return o.left }); err != nil {
		return nil, err
	}
	o := &openSession{ready: make(chan struct{})}
	s.open[key] = o
	s.uses++
	safego.Go(func() (err error) {
		o.session, err = open()
		return err
	}, func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.err = err; err != nil {
			delete(s.open, key)
		}
		close(o.ready)
		s.uses--
		s.idle.Broadcast()
	})
	return o, nil
}

// newSession opens a graph in the form that the lane's device takes.
func (m *Model) newSession(l *lane, v modeldir.Variant) (*ort.Session, error) {
	model, err := graph.Model(m.Dir, m.Config, v, l.form)
	if err != nil {
		return nil, err
	}
	return ort.NewSession(model, ort.SessionOptions{
		Name: string(v), Dir: m.Dir, Provider: l.device.provider, Threads: l.threads,
		Inputs: names(m.Config.Inputs(v)), Outputs: names(m.Config.Outputs(v)), Shapes: l.bounds.shapes(m.Config.Inputs(v)),
	})
}

func names(tensors []modeldir.Tensor) []string {
	list := make([]string, len(tensors))
	for i, t := range tensors {
		list[i] = t.Name
	}
	return list
}

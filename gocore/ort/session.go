package ort

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	onnxruntime "github.com/yalue/onnxruntime_go"

	"github.com/se600m/se600m-go/gocore/safego"
)

var (
	// ErrSession: a model can't be made ready to run.
	ErrSession = errors.New("model can't be opened")
	// ErrRun: a run failed.
	ErrRun = errors.New("model run failed")
	// ErrMemory: a model can't be opened, or a run failed, because the device's
	// memory is full.
	ErrMemory = errors.New("out of memory")
)

// SessionOptions are the choices for a session.
type SessionOptions struct {
	// Name of the graph, for errors.
	Name string
	// Dir has the files that the graph's external data is in.
	Dir      string
	Provider Provider
	// Threads that one run uses; at least 1.
	Threads int
	// Inputs and Outputs name the tensors that runs give and take, in order.
	Inputs, Outputs []string
	// Shapes are the bounds of the inputs' shapes, where the provider prepares for
	// them; nil: any.
	Shapes map[string]Shapes
}

// Session is a model ready to run.
type Session struct {
	session *onnxruntime.DynamicAdvancedSession
	name    string
	device  string
	ran     atomic.Bool
}

// NewSession opens a model. Errors wrap [ErrSession].
func NewSession(model []byte, o SessionOptions) (*Session, error) {
	fail := func(err error) (*Session, error) {
		kind := ErrSession
		if fullMemory(err) {
			kind = ErrMemory
		}
		return nil, fmt.Errorf("ONNX Runtime: graph %q of %q on %s: %w: %w", o.Name, o.Dir, o.Provider.Name(), err, kind)
	}
	if Library() == "" {
		return fail(ErrLibrary)
	}
	defer KeepSignals()()
	options, err := onnxruntime.NewSessionOptions()
	if err != nil {
		return fail(err)
	}
	defer options.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	for _, set := range []func() error{
		func() error { return options.SetIntraOpNumThreads(max(1, o.Threads)) },
		func() error { return options.SetInterOpNumThreads(1) },
		func() error { return options.SetGraphOptimizationLevel(onnxruntime.GraphOptimizationLevelEnableAll) },
		func() error { return options.SetLogSeverityLevel(onnxruntime.LoggingLevelError) },
		// Waiting threads must not burn the cores that tokenisation shares.
		func() error { return options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
		func() error {
			return options.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", o.Dir)
		},
		func() error { return writeProfile(options, o.Name) },
		func() error { return o.Provider.configure(options, o) },
	} {
		if err := set(); err != nil {
			return fail(err)
		}
	}
	session, err := onnxruntime.NewDynamicAdvancedSessionWithONNXData(model, o.Inputs, o.Outputs, options)
	if err != nil {
		return fail(err)
	}
	return &Session{session: session, name: o.Name, device: o.Provider.Name()}, nil
}

// Close frees the session. No run may be under way.
func (s *Session) Close() error {
	defer KeepSignals()()
	return s.session.Destroy()
}

// Tensor is row-major memory with a shape. Exactly one of the slices is set.
type Tensor struct {
	Shape   []int
	Int32   []int32
	Int64   []int64
	Float32 []float32
}

// Run executes the model on the inputs and fills the outputs, both in the
// order named to [NewSession]. It returns soon after the context ends, with an
// error that wraps the context's; the session can be used again. Other errors
// wrap [ErrRun].
func (s *Session) Run(ctx context.Context, inputs, outputs []Tensor) error {
	fail := func(err error) error {
		kind := ErrRun
		if fullMemory(err) {
			kind = ErrMemory
		}
		return fmt.Errorf("ONNX Runtime: graph %q on %s: %w: %w", s.name, s.device, err, kind)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ONNX Runtime: %w", err)
	}
	// ONNX Runtime keeps the addresses until the tensors are destroyed.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	bind := func(tensors []Tensor) (values []onnxruntime.Value, err error) {
		for _, t := range tensors {
			value, err := t.value(&pinner)
			if err != nil {
				destroy(values)
				return nil, err
			}
			values = append(values, value)
		}
		return values, nil
	}
	in, err := bind(inputs)
	if err != nil {
		return fail(err)
	}
	defer destroy(in)
	out, err := bind(outputs)
	if err != nil {
		return fail(err)
	}
	defer destroy(out)

	options, err := onnxruntime.NewRunOptions()
	if err != nil {
		return fail(err)
	}
	defer options.Destroy() //nolint:errcheck // it fails only where there is nothing to free
	if !s.ran.Swap(true) {  // libraries that start late start now
		defer KeepSignals()()
	}
	err = terminable(ctx, options.Terminate, func() error { return s.session.RunWithOptions(in, out, options) })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(err, safego.ErrPanic):
		return fmt.Errorf("ONNX Runtime: %w", ctx.Err())
	}
	return fail(err)
}

// fullMemory tells whether an error of a run says that memory was full: there is
// no other sign than the text.
func fullMemory(err error) bool {
	for _, sign := range []string{
		"Failed to allocate memory for requested buffer", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
	} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// terminable calls run and, if the context ends meanwhile, terminate. Nothing
// calls terminate once it has returned, so a run that is not there is never
// terminated.
func terminable(ctx context.Context, terminate, run func() error) (err error) {
	done := make(chan struct{})
	watcher := safego.NewGroup()
	watcher.Go(func() error {
		select {
		case <-ctx.Done():
			_ = terminate() // the run then ends by itself
		case <-done:
		}
		return nil
	})
	defer func() {
		close(done)
		if panicked := watcher.Wait(); panicked != nil {
			err = panicked
		}
	}()
	return run()
}

func destroy(values []onnxruntime.Value) {
	for _, v := range values {
		_ = v.Destroy() // fails only where there is nothing to free
	}
}

func (t Tensor) value(pinner *runtime.Pinner) (onnxruntime.Value, error) {
	shape := make(onnxruntime.Shape, len(t.Shape))
	for i, n := range t.Shape {
		shape[i] = int64(n)
	}
	switch {
	case t.Int32 != nil:
		return newValue(shape, t.Int32, pinner)
	case t.Int64 != nil:
		return newValue(shape, t.Int64, pinner)
	default:
		return newValue(shape, t.Float32, pinner)
	}
}

func newValue[T onnxruntime.TensorData](shape onnxruntime.Shape, data []T, pinner *runtime.Pinner) (onnxruntime.Value, error) {
	if len(data) == 0 || shape.FlattenedSize() != int64(len(data)) {
		return nil, fmt.Errorf("a tensor of shape %v has %d elements", shape, len(data))
	}
	pinner.Pin(&data[0])
	return onnxruntime.NewTensor(shape, data)
}

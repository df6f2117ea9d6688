package embed

import (
	"errors"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/ort"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// ErrOption: an option has a value that can't be.
var ErrOption = errors.New("invalid option")

// ErrLacks: the model has no such part.
var ErrLacks = errors.New("the model lacks it")

// ErrClosed: the model was closed.
var ErrClosed = errors.New("model is closed")

// Model is a converted model, ready to run. Any goroutine may use it.
type Model struct {
	Dir        string
	Config     *modeldir.Config
	Vocabulary *vocabulary.Vocabulary

	provider ort.Provider
	sessions sessions
}

// Open opens a converted model directory on a device, in a precision (see
// [ort.ResolveDevice]). Graphs are opened when they are first needed. ONNX
// Runtime must be open (package ort).
func Open(dir, device, precision string) (*Model, error) {
	config, genes, err := modeldir.Read(dir)
	if err != nil {
		return nil, err
	}
	v, err := vocabulary.New(genes)
	if err != nil {
		return nil, fmt.Errorf("model directory %q: %w", dir, err)
	}
	provider, err := ort.ResolveDevice(device, precision)
	if err != nil {
		return nil, err
	}
	m := &Model{Dir: dir, Config: config, Vocabulary: v, provider: provider}
	m.sessions.open = map[sessionKey]*openSession{}
	m.sessions.idle.L = &m.sessions.mu
	return m, nil
}

// Device is where the model runs.
func (m *Model) Device() string { return m.provider.Name() }

// Precision is what the model's products are computed in.
func (m *Model) Precision() ort.Precision { return m.provider.Precision() }

package embed

import (
	"errors"
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/notice"
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

	devices  []*device
	sessions sessions
}

// Open opens a converted model directory on one or several devices, in a
// precision (see [ort.ResolveDevices]). Graphs are opened when they are first
// needed. ONNX Runtime must be open (package ort).
func Open(dir, devices, precision string) (*Model, error) {
	config, genes, err := modeldir.Read(dir)
	if err != nil {
		return nil, err
	}
	v, err := vocabulary.New(genes)
	if err != nil {
		return nil, fmt.Errorf("model directory %q: %w", dir, err)
	}
	providers, err := ort.ResolveDevices(devices, precision)
	if err != nil {
		return nil, err
	}
	m := &Model{Dir: dir, Config: config, Vocabulary: v}
	if devices == "auto" && providers[0].Name() != "cpu" && providers[0].Name() != "openvino" {
		notice.Sayf("device=\"auto\" is %s, in %s", providers[0].Name(), providers[0].Precision())
	}
	for _, p := range providers {
		m.devices = append(m.devices, &device{provider: p})
	}
	m.sessions.open = map[sessionKey]*openSession{}
	m.sessions.idle.L = &m.sessions.mu
	return m, nil
}

// Device is where the model runs: a device, or several with commas between them.
func (m *Model) Device() string {
	names := make([]string, len(m.devices))
	for i, d := range m.devices {
		names[i] = d.provider.Name()
	}
	return strings.Join(names, ",")
}

// Precision is what the model's products are computed in.
func (m *Model) Precision() ort.Precision { return m.devices[0].provider.Precision() }

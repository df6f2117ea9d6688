package runtime

import ort "github.com/yalue/onnxruntime_go"

// cpu is ONNX Runtime's own provider, which every session has.
type cpu struct{ precision Precision }

func (c cpu) Precision() Precision              { return c.precision }
func (cpu) Name() string                        { return "cpu" }
func (cpu) check() error                        { return nil }
func (cpu) configure(*ort.SessionOptions) error { return nil }

package ort

import onnxruntime "github.com/yalue/onnxruntime_go"

// cpu is ONNX Runtime's own provider, which every session has.
type cpu struct{ precision Precision }

func (cpu) Name() string                                     { return "cpu" }
func (c cpu) Precision() Precision                           { return c.precision }
func (cpu) check() error                                     { return nil }
func (cpu) configure(*onnxruntime.SessionOptions, int) error { return nil }

// Package ort executes ONNX models on ONNX Runtime.
//
// The shared library is loaded by path, once for the life of the process
// ([Open]). A [Provider] is where a model runs, one file each: the CPU, OpenVINO,
// CUDA and TensorRT. A [Session] is a model ready to run, by any number of
// goroutines at a time; a run ends early, between two nodes, when its context
// does. Signal handlers that a provider's libraries replace are put back.
package ort

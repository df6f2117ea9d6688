// Package ort executes ONNX models on ONNX Runtime.
//
// The shared library is loaded by path, once for the life of the process
// ([Open]). A [Provider] is where a model runs, one file each: the CPU now;
// CUDA and TensorRT stand behind the same interface and say for the time being
// what a machine lacks. A [Session] is a model ready to run, by any number of
// goroutines at a time; a run ends early, between two nodes, when its context
// does.
package ort

// Package onnx writes ONNX models.
//
// A [Graph] is built node by node in the order of computation; each call gives
// a [Value] that later nodes take as input. Weights stay out of the model:
// [Graph.External] refers to a place in a file beside it, because a ModelProto
// may not exceed 2 GB. [WeightsWriter] writes such a file. Mistakes are
// collected and reported once, by [Graph.Model].
//
// The same calls give the same bytes.
package onnx

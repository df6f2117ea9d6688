// Package onnxpb is ONNX's own ModelProto, generated from the official
// onnx.proto (the onnx-ml.proto of the PyPI package onnx; Apache-2.0, its
// header is kept). To generate it anew, with protoc and protoc-gen-go on the
// path:
//
//	protoc -I. --go_out=. --go_opt=paths=source_relative \
//	    --go_opt=Monnx.proto=github.com/se600m/se600m-go/gocore/onnx/onnxpb onnx.proto
package onnxpb

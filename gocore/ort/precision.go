package ort

import (
	"errors"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// ErrPrecision: a precision is unknown.
var ErrPrecision = errors.New("unknown precision")

// Precision is what a model's products are computed in.
type Precision string

// The precisions.
const (
	// Auto is the device's own choice: FP32 on the CPU, FP16 on a GPU.
	Auto Precision = "auto"
	// FP32 is exact.
	FP32 Precision = "fp32"
	// INT8 rounds to whole numbers of 8 bits what enters the layers' products;
	// attention is exact.
	INT8 Precision = "int8"
	// BF16 rounds to 8 significant bits what enters products; sums are fp32.
	BF16 Precision = "bf16"
	// FP16 rounds to 11 significant bits what enters products; sums are fp32. No
	// number may be larger than 65,504.
	FP16 Precision = "fp16"
)

// parsePrecision reads a precision's name.
func parsePrecision(name string) (Precision, error) {
	switch p := Precision(name); p {
	case Auto, FP32, BF16, FP16, INT8:
		return p, nil
	}
	return "", fmt.Errorf("precision=%q is not one of \"auto\", \"fp32\", \"bf16\", \"fp16\", \"int8\": %w", name, ErrPrecision)
}

// elements are the types that a GPU computes the layers in.
var elements = map[Precision]modeldir.Element{
	FP32: modeldir.Float32, FP16: modeldir.Float16, BF16: modeldir.BFloat16,
}

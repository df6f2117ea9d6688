package ort

import (
	"errors"
	"fmt"
)

// ErrPrecision: a precision is unknown.
var ErrPrecision = errors.New("unknown precision")

// Precision is what a model's products are computed in.
type Precision string

// The precisions.
const (
	// FP32 is exact.
	FP32 Precision = "fp32"
	// INT8 rounds to whole numbers of 8 bits what enters the layers' products;
	// attention is exact.
	INT8 Precision = "int8"
	// BF16 rounds to 8 significant bits what enters products; sums are fp32.
	BF16 Precision = "bf16"
)

// parsePrecision reads a precision's name; "auto" is fp32.
func parsePrecision(name string) (Precision, error) {
	switch p := Precision(name); p {
	case "auto", FP32:
		return FP32, nil
	case BF16, INT8:
		return p, nil
	}
	return "", fmt.Errorf("precision=%q is not one of \"auto\", \"fp32\", \"bf16\", \"int8\": %w", name, ErrPrecision)
}

package embed

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/runtime"
)

// The precisions that a model can run in.
const (
	fp32     = "fp32"
	int8Name = "int8"
)

// resolvePrecision gives the precision for "auto", "fp32" or "int8". Auto is
// exact: only a precision asked for by name gives other numbers. Errors wrap
// [ErrOption].
func resolvePrecision(precision string, provider runtime.Provider) (string, error) {
	switch precision {
	case "auto", fp32:
		return fp32, nil
	case int8Name:
		if provider.Name() != "cpu" {
			return "", fmt.Errorf("embed: precision=%q runs on device=\"cpu\" alone, not on %q: %w", precision, provider.Name(), ErrOption)
		}
		return int8Name, nil
	default:
		return "", fmt.Errorf("embed: precision=%q is not one of \"auto\", \"fp32\", \"int8\": %w", precision, ErrOption)
	}
}

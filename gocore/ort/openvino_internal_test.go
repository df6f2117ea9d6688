package ort

import (
	"errors"
	"strings"
	"testing"
)

// Where the processor lacks bfloat16, the library is not asked for in vain.
func TestBF16NeedsTheProcessor(t *testing.T) {
	defer func(had bool) { hasBF16 = had }(hasBF16)
	hasBF16 = false
	for _, device := range []string{"auto", "cpu", "openvino"} {
		_, err := ResolveDevice(device, "bf16")
		if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "AVX512-BF16") || !strings.Contains(err.Error(), "fp32") {
			t.Errorf("device %q: %v", device, err)
		}
	}
}

package runtime

import (
	"errors"
	"strings"
	"testing"
)

// Nobody gets an experiment without asking for it.
func TestOpenVINOIsAnExperiment(t *testing.T) {
	t.Setenv(experiment, "")
	for device, precision := range map[string]string{"openvino": "auto", "cpu": "bf16", "auto": "bf16"} {
		_, err := ResolveDevice(device, precision)
		if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), experiment+"=1") {
			t.Errorf("device %q, precision %q: %v", device, precision, err)
		}
	}
}

// Where the processor lacks bfloat16, the library is not asked for in vain.
func TestBF16NeedsTheProcessor(t *testing.T) {
	t.Setenv(experiment, "1")
	defer func(had bool) { hasBF16 = had }(hasBF16)
	hasBF16 = false
	for _, device := range []string{"auto", "cpu", "openvino"} {
		_, err := ResolveDevice(device, "bf16")
		if !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "AVX512-BF16") || !strings.Contains(err.Error(), "fp32") {
			t.Errorf("device %q: %v", device, err)
		}
	}
}

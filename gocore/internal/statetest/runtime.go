package statetest

import (
	"os"
	"testing"

	"github.com/se600m/se600m-go/gocore/ort"
)

// NeedRuntime opens ONNX Runtime, or skips the test where its library is not
// named.
func NeedRuntime(tb testing.TB) {
	tb.Helper()
	path := os.Getenv("SE600M_ORT_LIBRARY")
	if path == "" {
		tb.Skip("needs ONNX Runtime: SE600M_ORT_LIBRARY names no library (make test-go sets it)")
	}
	if err := ort.Open(path); err != nil {
		tb.Fatal(err)
	}
}

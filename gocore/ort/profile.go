package ort

import (
	"fmt"
	"os"
	"sync/atomic"

	onnxruntime "github.com/yalue/onnxruntime_go"
)

// profileVariable names the beginning of files that sessions write their
// profiles to: which nodes ran, where and for how long.
const profileVariable = "SE600M_ORT_PROFILE"

// profiles counts the profiles of this process: ONNX Runtime adds no more than
// the time to a name, and sessions of several devices open at the same one.
var profiles atomic.Int64

// writeProfile has a session write its profile when it is closed, if the environment
// wants that, to a file whose name goes on with a number, the graph's name and the time.
func writeProfile(options *onnxruntime.SessionOptions, graph string) error {
	prefix := os.Getenv(profileVariable)
	if prefix == "" {
		return nil
	}
	return options.EnableProfiling(fmt.Sprintf("%s-%04d-%s", prefix, profiles.Add(1), graph))
}

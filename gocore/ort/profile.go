package ort

import (
	"os"

	onnxruntime "github.com/yalue/onnxruntime_go"
)

// profileVariable names the beginning of files that sessions write their
// profiles to: which nodes ran, where and for how long.
const profileVariable = "SE600M_ORT_PROFILE"

// writeProfile has a session write its profile when it is closed, if the environment
// wants that, to a file whose name goes on with the graph's name and the time.
func writeProfile(options *onnxruntime.SessionOptions, graph string) error {
	prefix := os.Getenv(profileVariable)
	if prefix == "" {
		return nil
	}
	return options.EnableProfiling(prefix + "-" + graph)
}

//go:build !linux

package ort

// keepSignalStack has nothing to do where OpenVINO sets no signal stack.
func keepSignalStack() (giveBack func()) { return func() {} }

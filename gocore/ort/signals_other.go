//go:build !linux

package ort

// Where there are neither OpenVINO's nor NVIDIA's libraries, there is nothing to
// do.
func keepSignalStack() (giveBack func())    { return func() {} }
func keepSignalHandlers() (giveBack func()) { return func() {} }

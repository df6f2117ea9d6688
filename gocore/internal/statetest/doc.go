// Package statetest writes small State checkpoints for the tests of other
// packages: safetensors files, the zip files of torch, and whole random models
// in the reference's names.
package statetest

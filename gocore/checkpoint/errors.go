package checkpoint

import "errors"

var (
	// ErrNotFound: a file that a checkpoint needs does not exist.
	ErrNotFound = errors.New("checkpoint not found")
	// ErrMalformed: a file is truncated, damaged or of another kind.
	ErrMalformed = errors.New("malformed checkpoint")
	// ErrUnsafePickle: a pickle names something that has no place in a checkpoint.
	ErrUnsafePickle = errors.New("unsafe pickle")
	// ErrUnsupported: a file is sound, but of a kind that is not read.
	ErrUnsupported = errors.New("unsupported checkpoint")
	// ErrConfig: the configuration lacks a value or disagrees with the tensors.
	ErrConfig = errors.New("invalid checkpoint configuration")
	// ErrGeneTable: there is no usable gene table.
	ErrGeneTable = errors.New("invalid gene table")
)

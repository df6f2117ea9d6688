package pybind

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/se600m/se600m-go/gocore/checkpoint"
)

// CheckpointFiles lists the files that a checkpoint consists of, as a JSON
// array: the weights, then what of a configuration and a gene table is read
// beside them. Tensors are not read.
func CheckpointFiles(path, name, proteinEmbeddings string) (files string, err error) {
	defer export(&err)
	c, err := checkpoint.Open(path, checkpoint.Options{Name: name, ProteinEmbeddings: proteinEmbeddings})
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	return toJSON(c.Files)
}

// cannotWrite marks errors of the place that is written to: it is full, or not
// ours to write.
func cannotWrite(err error) error {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG, syscall.EIO, fs.ErrPermission} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", err, errDestination)
		}
	}
	return err
}

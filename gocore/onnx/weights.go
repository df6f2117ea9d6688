package onnx

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
)

// pageSize is what tensors are aligned to, so that ONNX Runtime can map them.
const pageSize = 4096

// WeightsWriter writes tensors one after the other into an external data file,
// without holding them.
type WeightsWriter struct {
	file   *os.File
	out    *bufio.Writer
	sum    hash.Hash
	offset int64
	buffer []byte
}

// CreateWeights creates the file.
func CreateWeights(path string) (*WeightsWriter, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: external data: %w", err)
	}
	sum := sha256.New()
	return &WeightsWriter{file: file, out: bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20), sum: sum}, nil
}

// Begin aligns the file for a tensor that the next calls of Write fill.
func (w *WeightsWriter) Begin() (offset int64, err error) {
	if gap := -w.offset & (pageSize - 1); gap > 0 {
		if _, err := w.out.Write(make([]byte, gap)); err != nil {
			return 0, fmt.Errorf("onnx: external data: %w", err)
		}
		w.offset += gap
	}
	return w.offset, nil
}

// Bytes appends values to a buffer as they are stored, little-endian.
func Bytes(buffer []byte, values []float32) []byte {
	for _, v := range values {
		buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
	}
	return buffer
}

// Write appends values.
func (w *WeightsWriter) Write(values []float32) error {
	w.buffer = Bytes(w.buffer[:0], values)
	n, err := w.out.Write(w.buffer)
	w.offset += int64(n)
	if err != nil {
		return fmt.Errorf("onnx: external data: %w", err)
	}
	return nil
}

// End says where the tensor begun at offset lies.
func (w *WeightsWriter) End(offset int64) Location {
	return Location{File: filepath.Base(w.file.Name()), Offset: offset, Length: w.offset - offset}
}

// Tensor appends a tensor whole.
func (w *WeightsWriter) Tensor(values []float32) (Location, error) {
	offset, err := w.Begin()
	if err != nil {
		return Location{}, err
	}
	if err := w.Write(values); err != nil {
		return Location{}, err
	}
	return w.End(offset), nil
}

// Int8 appends a tensor of whole numbers of 8 bits.
func (w *WeightsWriter) Int8(values []int8) (Location, error) {
	offset, err := w.Begin()
	if err != nil {
		return Location{}, err
	}
	w.buffer = w.buffer[:0]
	for _, v := range values {
		w.buffer = append(w.buffer, byte(v))
	}
	n, err := w.out.Write(w.buffer)
	w.offset += int64(n)
	if err != nil {
		return Location{}, fmt.Errorf("onnx: external data: %w", err)
	}
	return w.End(offset), nil
}

// Close finishes the file, on the disk, and tells its size and SHA-256.
func (w *WeightsWriter) Close() (size int64, sha string, err error) {
	err = w.out.Flush()
	if err == nil {
		err = w.file.Sync()
	}
	if closed := w.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return 0, "", fmt.Errorf("onnx: external data: %w", err)
	}
	return w.offset, hex.EncodeToString(w.sum.Sum(nil)), nil
}

// Abort closes a file that is not going to be used.
func (w *WeightsWriter) Abort() { _ = w.file.Close() }

package checkpoint

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// maxPickle bounds the pickle of a checkpoint, whose tensors lie elsewhere: it may
// take a hundred times as much memory. The 19,790 entries of a gene table take
// about 3 MB.
const maxPickle = 1 << 25

// readTorch reads a file that torch.save wrote, a zip with a pickle in it, into
// inert values and unread tensors.
func readTorch(file io.ReaderAt, size int64) (any, error) {
	archive, err := openTorch(file, size)
	if err != nil {
		return nil, err
	}
	if err := archive.checkByteOrder(); err != nil {
		return nil, err
	}
	program, err := archive.pickle()
	if err != nil {
		return nil, err
	}
	u := &unpickler{in: program, reduce: reduceTorch}
	u.persistent = func(id any) (any, error) { return archive.storage(u, id) }
	return u.run()
}

// torchArchive is the entries of a file that torch.save wrote.
type torchArchive struct {
	file    io.ReaderAt
	size    int64
	entries map[string]*zip.File
	root    string // the folder inside the zip that has data.pkl, with its slash
}

// openTorch lists the entries and finds the folder that data.pkl is in: the
// outermost, if there are several.
func openTorch(file io.ReaderAt, size int64) (*torchArchive, error) {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return nil, notAZip(file, err)
	}
	a := &torchArchive{file: file, size: size, entries: make(map[string]*zip.File, len(archive.File))}
	for _, f := range archive.File {
		if _, twice := a.entries[f.Name]; twice {
			return nil, fmt.Errorf("torch zip: entry %q occurs twice: %w", f.Name, ErrMalformed)
		}
		a.entries[f.Name] = f
		if name, is := strings.CutSuffix(f.Name, "data.pkl"); is && (a.root == "" || len(name) < len(a.root)) {
			a.root = name
		}
	}
	if _, found := a.entries[a.root+"data.pkl"]; !found {
		return nil, fmt.Errorf("torch zip: no data.pkl among %d entries: torch.save did not write this file: %w",
			len(archive.File), ErrMalformed)
	}
	return a, nil
}

// notAZip tells the legacy torch format, which is a bare pickle, from other files.
func notAZip(file io.ReaderAt, cause error) error {
	var head [2]byte
	if _, err := file.ReadAt(head[:], 0); err == nil && bytes.Equal(head[:], []byte{0x80, 0x02}) {
		return fmt.Errorf("torch: the format of torch before 1.6 is not supported: load the file with torch and save it again "+
			"with torch.save: %w", ErrUnsupported)
	}
	return fmt.Errorf("torch zip: %w: the file is truncated, or torch.save did not write it: %w", cause, ErrMalformed)
}

// content finds the bytes of an entry in the file.
func (a *torchArchive) content(f *zip.File) (*io.SectionReader, error) {
	if f.Method != zip.Store {
		return nil, fmt.Errorf("torch zip: entry %q is compressed, which torch does not do: %w", f.Name, ErrUnsupported)
	}
	at, err := f.DataOffset()
	if err != nil || f.UncompressedSize64 > uint64(a.size) || at+int64(f.UncompressedSize64) > a.size {
		return nil, fmt.Errorf("torch zip: entry %q reaches past the end of the file: %w", f.Name, ErrMalformed)
	}
	return io.NewSectionReader(a.file, at, int64(f.UncompressedSize64)), nil
}

// checkByteOrder refuses a file of a big-endian machine. Files of older torch
// do not state the order.
func (a *torchArchive) checkByteOrder() error {
	entry, has := a.entries[a.root+"byteorder"]
	if !has {
		return nil
	}
	data, err := a.content(entry)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(data, 16))
	if err != nil || string(text) != "little" {
		return fmt.Errorf("torch zip: byte order %q: %w", text, ErrUnsupported)
	}
	return nil
}

// pickle reads data.pkl.
func (a *torchArchive) pickle() ([]byte, error) {
	data, err := a.content(a.entries[a.root+"data.pkl"])
	if err != nil {
		return nil, err
	}
	if data.Size() > maxPickle {
		return nil, fmt.Errorf("torch zip: a pickle of %d bytes: %w", data.Size(), ErrUnsupported)
	}
	program, err := io.ReadAll(data)
	if err != nil {
		return nil, fmt.Errorf("torch zip: data.pkl: %w: %w", err, ErrMalformed)
	}
	return program, nil
}

// storage finds the storage that a persistent id of the pickle stands for:
// ("storage", class, key, location, number of elements).
func (a *torchArchive) storage(u *unpickler, id any) (*storage, error) {
	parts, is := id.(Tuple)
	if !is || len(parts) < 5 || parts[0] != "storage" {
		return nil, u.fail("a persistent id that is not a storage")
	}
	class, _ := parts[1].(Global)
	key, _ := parts[2].(string)
	n, _ := parts[4].(int64)
	dtype, known := storageType(class)
	entry, has := a.entries[a.root+"data/"+key]
	if !known || !has || n < 0 {
		return nil, u.fail("storage %q of class %q is not in the file", key, class)
	}
	data, err := a.content(entry)
	if err != nil {
		return nil, err
	}
	if n > data.Size()/int64(dtype.Size) {
		return nil, u.fail("storage %q: %d elements of %s in %d bytes", key, n, dtype.Name, data.Size())
	}
	return &storage{dtype, int(n), data}, nil
}

package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/se600m/se600m-go/gocore/checkpoint"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// ErrExists: the directory to write is there already.
var ErrExists = errors.New("destination exists")

// Options of a conversion.
type Options struct {
	checkpoint.Options
	// Name of the model; the checkpoint's folder or file name if empty.
	ModelName string
	// Overwrite replaces a converted model that is there already.
	Overwrite bool
	// Progress is told the bytes done and the bytes in all.
	Progress func(done, total int64)
}

// Convert converts a checkpoint into a directory. The directory appears whole
// or not at all. Needs an open ONNX Runtime (package ort).
func Convert(ctx context.Context, path, dst string, o Options) error {
	if err := mayWrite(dst, o.Overwrite); err != nil {
		return err
	}
	c, err := checkpoint.Open(path, o.Options)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	s, err := inspect(c)
	if err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dst))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	draft, err := os.MkdirTemp(parent, "."+filepath.Base(dst)+".unfinished-*")
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	// Once it is in its place nothing is left to remove.
	defer func() { _ = os.RemoveAll(draft) }()
	if err := s.write(ctx, draft, o); err != nil {
		return err
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	return replace(draft, dst, o.Overwrite)
}

// mayWrite refuses to replace anything that is not a converted model, and one
// unless asked to.
func mayWrite(dst string, overwrite bool) error {
	entries, err := os.ReadDir(dst)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("convert: %w: %w", err, ErrExists)
	}
	if _, _, err := modeldir.Read(dst); overwrite && err == nil {
		return nil
	}
	return fmt.Errorf("convert: %q already exists: choose another folder (only a converted model can be overwritten): %w", dst, ErrExists)
}

// replace puts the finished draft in its place.
func replace(draft, dst string, overwrite bool) error {
	old := draft + "-replaced"
	if overwrite {
		if err := os.Rename(dst, old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("convert: %w", err)
		}
		defer func() { _ = os.RemoveAll(old) }()
	} else if info, err := os.Lstat(dst); err == nil && info.IsDir() {
		_ = os.Remove(dst) // an empty folder makes room; any other stays, and the next step says so
	}
	if err := os.Rename(draft, dst); err != nil {
		if overwrite {
			_ = os.Rename(old, dst)
		}
		return fmt.Errorf("convert: %w: %w", err, ErrExists)
	}
	return nil
}

// conversion is a checkpoint on its way into a directory.
type conversion struct {
	*source
	dir      string
	config   *modeldir.Config
	placed   modeldir.Weights
	contents modeldir.Contents // of the tensors read
	progress func(nBytes int64)
}

func (s *source) write(ctx context.Context, dir string, o Options) error {
	var done int64
	total := s.totalBytes()
	c := &conversion{
		source: s, dir: dir, placed: modeldir.Weights{}, contents: modeldir.Contents{},
		progress: func(n int64) {
			done += n
			if o.Progress != nil {
				o.Progress(min(done, total), total)
			}
		},
		config: &modeldir.Config{
			FormatVersion: modeldir.FormatVersion, Name: o.ModelName, Dimensions: s.dims,
			ExpressionEncoding: s.Config.ExpressionEncoding, Decoder: s.decoder,
			Files: map[string]modeldir.FileInfo{}, Notes: s.notes,
			Source: modeldir.Source{
				Name: filepath.Base(s.Source), Checkpoint: filepath.Base(s.Weights),
				Writer: modeldir.Writer + " " + modeldir.WriterVersion,
			},
		},
	}
	if c.config.Name == "" {
		c.config.Name = strings.TrimSuffix(filepath.Base(s.Source), filepath.Ext(s.Source))
	}
	// Tokens are folded over what source.bin has.
	steps := []func(context.Context) error{c.writeSource, c.writeWeights, c.writeGeneEmbeddings}
	if s.decoder != nil {
		steps = append(steps, c.writeDecoder)
	}
	for _, write := range steps {
		if err := write(ctx); err != nil {
			return err
		}
	}
	return c.finish(ctx)
}

// finish writes what tells about the weights, the config last.
func (c *conversion) finish(ctx context.Context) (err error) {
	c.config.Checksum = c.config.Identity(c.Genes.Names, c.contents)
	if err := modeldir.WriteIndex(c.dir, modeldir.Float32, modeldir.Index{Weights: c.placed}); err != nil {
		return err
	}
	genes := strings.Join(c.Genes.Names, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(c.dir, modeldir.GenesFile), []byte(genes), 0o644); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	for _, name := range []string{modeldir.Float32.IndexFile(), modeldir.GenesFile} {
		if c.config.Files[name], err = modeldir.Describe(filepath.Join(c.dir, name)); err != nil {
			return err
		}
	}
	if c.config.Source.SHA256, err = c.SHA256(ctx); err != nil {
		return err
	}
	if c.config.Source.Licences, err = c.copyLicences(c.dir); err != nil {
		return err
	}
	return modeldir.Write(c.dir, c.config)
}

// totalBytes is what the progress counts.
func (s *source) totalBytes() int64 {
	var n int64
	for _, shape := range s.needed() {
		size := int64(4)
		for _, d := range shape {
			size *= int64(d)
		}
		n += size
	}
	const passes = 3 // over the gene table: copied, folded, embedded
	return n + passes*int64(s.dims.NGenes)*int64(s.dims.TokenDim)*4
}

// notice goes beside the licence files of the source.
const notice = `The weights in this folder are a converted copy of a checkpoint by others and are a
derivative of it: whatever licence the checkpoint is under governs them, too. Its licence, notice
and card files, as far as they lay beside it, are in this folder. The licence of the
software that converted them does not apply to them.
`

// copyLicences keeps the source's licence files with the weights.
func (s *source) copyLicences(dir string) ([]string, error) {
	folder := filepath.Join(dir, modeldir.LicenceDir)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "CONVERTED.txt"), []byte(notice), 0o644); err != nil {
		return nil, fmt.Errorf("convert: %w", err)
	}
	var names []string
	for _, path := range s.Licences {
		if err := copyFile(path, filepath.Join(folder, filepath.Base(path))); err != nil {
			return nil, err
		}
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return names, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	return nil
}

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
	return fmt.Errorf("convert: %q exists: choose another folder, or overwrite a converted model: %w", dst, ErrExists)
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

func (s *source) write(ctx context.Context, dir string, o Options) error {
	var done int64
	total := s.totalBytes()
	progress := func(n int64) {
		done += n
		if o.Progress != nil {
			o.Progress(min(done, total), total)
		}
	}
	config := &modeldir.Config{
		FormatVersion: modeldir.FormatVersion, Name: o.ModelName, Dimensions: s.dims,
		ExpressionEncoding: s.Config.ExpressionEncoding, Precision: "fp32",
		Files: map[string]modeldir.FileInfo{}, Notes: s.notes,
		Source: modeldir.Source{
			Name: filepath.Base(s.Source), Checkpoint: filepath.Base(s.Weights), Writer: writerName + " " + writerVersion,
		},
		Decoder: s.decoder,
	}
	if config.Name == "" {
		config.Name = strings.TrimSuffix(filepath.Base(s.Source), filepath.Ext(s.Source))
	}
	placed := weights{}
	var err error
	if config.Files[modeldir.WeightsFile], err = s.writeWeights(ctx, dir, placed, progress); err != nil {
		return err
	}
	if config.Files[modeldir.GeneEmbeddingsFile], err = s.writeGeneEmbeddings(ctx, dir, progress); err != nil {
		return err
	}
	if config.Files[modeldir.Int8File], err = s.writeInt8(ctx, dir, placed, progress); err != nil {
		return err
	}
	// The embedding graphs share the weights; the trace adds what folding took away.
	graphs := map[modeldir.Variant]*graph{}
	add := func(variant modeldir.Variant, graphOf func(modeldir.Variant, weights) *graph) {
		for _, v := range []modeldir.Variant{variant, variant.Int8(), variant.OpenVINO()} {
			graphs[v] = graphOf(v, placed)
		}
	}
	add(modeldir.Dense, s.embedGraph)
	add(modeldir.Weighted, s.embedGraph)
	add(modeldir.Contextual, s.contextualGraph)
	if config.Files[modeldir.SourceFile], err = s.writeSource(ctx, dir, placed, progress); err != nil {
		return err
	}
	graphs[modeldir.Trace] = s.traceGraph(placed)
	if s.decoder != nil {
		if config.Files[modeldir.DecoderWeightsFile], err = s.writeDecoder(ctx, dir, placed, progress); err != nil {
			return err
		}
		graphs[modeldir.Decoder] = s.decoderGraph(placed) // has no fused operators
	}
	for variant, graph := range graphs {
		path := filepath.Join(dir, variant.File())
		if err := graph.write(path); err != nil {
			return err
		}
		if config.Files[variant.File()], err = modeldir.Describe(path); err != nil {
			return err
		}
	}
	genes := strings.Join(s.Genes.Names, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, modeldir.GenesFile), []byte(genes), 0o644); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	if config.Files[modeldir.GenesFile], err = modeldir.Describe(filepath.Join(dir, modeldir.GenesFile)); err != nil {
		return err
	}
	if config.Source.SHA256, err = s.SHA256(ctx); err != nil {
		return err
	}
	if config.Source.Licences, err = s.copyLicences(dir); err != nil {
		return err
	}
	return modeldir.Write(dir, config)
}

// totalBytes estimates what the progress counts.
func (s *source) totalBytes() int64 {
	var n int64
	for _, shape := range s.needed() {
		size := int64(4)
		for _, d := range shape {
			size *= int64(d)
		}
		n += size
	}
	const passes = 3 // over the gene table: folded, embedded, copied
	return n + s.int8Bytes() + passes*int64(s.dims.NGenes)*int64(s.dims.TokenDim)*4
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

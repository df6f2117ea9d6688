package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options override where parts of a checkpoint are found.
type Options struct {
	// Config is a config.yaml to use instead of the checkpoint's own.
	Config string
	// ProteinEmbeddings is a .pt gene table to use instead of the checkpoint's own.
	ProteinEmbeddings string
	// Name picks one of several weight files in a folder. Without it that is
	// model.safetensors, or the only one.
	Name string
}

// Checkpoint is an open checkpoint.
type Checkpoint struct {
	Source  string   // the path as it was given
	Weights string   // the file with the weights
	Files   []string // what was read
	Tensors map[string]*Tensor
	Config  Config
	Genes   *GeneTable
	// Licences are the licence, notice and model card files beside the weights.
	Licences []string

	open []*os.File
}

// Open opens a folder (model.safetensors, config.yaml, protein_embeddings.pt;
// or a .ckpt), a .safetensors file with those beside it, or a .ckpt file.
// Parts of the checkpoint come from these places, first found first taken: the
// gene table from the option, protein_embeddings.pt, the .ckpt's own
// protein_embeds_dict; the configuration from the option, the .ckpt's own, or
// config.yaml.
func Open(path string, o Options) (*Checkpoint, error) {
	c := &Checkpoint{Source: path}
	if err := c.read(path, o); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("checkpoint %q: %w", path, err)
	}
	return c, nil
}

// Close closes the files. Tensors can't be read any more.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.open {
		errs = append(errs, f.Close())
	}
	c.open = nil
	return errors.Join(errs...)
}

func (c *Checkpoint) openFile(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	if !info.Mode().IsRegular() { // to open a pipe would take for ever
		return nil, 0, fmt.Errorf("%q is not a file: %w", path, ErrNotFound)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	c.open = append(c.open, f)
	c.Files = append(c.Files, path)
	return f, info.Size(), nil
}

// parts are what a checkpoint consists of beside its tensors. A weights file may
// hold them; files beside it are read where it does not, or in its place.
type parts struct {
	config      tree
	hyper       tree // a Lightning checkpoint's hyper-parameters
	genes       any  // the gene table, as it was pickled
	genesSource string
}

func (c *Checkpoint) read(path string, o Options) error {
	weights, err := pickWeights(path, o.Name)
	if err != nil {
		return err
	}
	c.Weights = weights
	p, err := c.readWeights(weights)
	if err != nil {
		return err
	}
	if err := c.readConfig(&p, weights, o.Config); err != nil {
		return err
	}
	if err := c.readGenes(&p, weights, o.ProteinEmbeddings); err != nil {
		return err
	}
	c.Tensors = stripPrefixes(c.Tensors)
	c.Licences = findLicences(filepath.Dir(weights))
	return nil
}

// readWeights lists the tensors, and takes what else the file with the weights has.
func (c *Checkpoint) readWeights(weights string) (parts, error) {
	file, size, err := c.openFile(weights)
	if err != nil {
		return parts{}, err
	}
	if strings.EqualFold(filepath.Ext(weights), ".safetensors") {
		c.Tensors, err = readSafetensors(file, size)
		return parts{}, err
	}
	value, err := readTorch(file, size)
	if err != nil {
		return parts{}, err
	}
	p := parts{genesSource: filepath.Base(weights)}
	p.config, p.hyper, p.genes, err = c.readLightning(value)
	return p, err
}

// readConfig reads the configuration: the file that was asked for, the one in
// the weights file, or config.yaml beside it.
func (c *Checkpoint) readConfig(p *parts, weights, asked string) error {
	path := beside(weights, asked, "config.yaml")
	if path != "" && (p.config == nil || asked != "") {
		file, size, err := c.openFile(path)
		if err != nil {
			return err
		}
		if size > maxConfig {
			return fmt.Errorf("%q: %w", path, tooLong(size))
		}
		text, err := io.ReadAll(io.LimitReader(file, maxConfig))
		if err != nil {
			return fmt.Errorf("%q: %w: %w", path, err, ErrConfig)
		}
		if p.config, err = parseYAML(text); err != nil {
			return err
		}
	}
	if p.config == nil {
		return fmt.Errorf("there is no configuration in %s, and no config.yaml in the same folder: %w", filepath.Base(weights), ErrConfig)
	}
	var err error
	c.Config, err = newConfig(p.config, p.hyper)
	return err
}

// readGenes reads the gene table: the file that was asked for,
// protein_embeddings.pt beside the weights file, or what is in that file.
func (c *Checkpoint) readGenes(p *parts, weights, asked string) error {
	if path := beside(weights, asked, "protein_embeddings.pt"); path != "" {
		file, size, err := c.openFile(path)
		if err != nil {
			return err
		}
		if p.genes, err = readTorch(file, size); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
		p.genesSource = filepath.Base(path)
	}
	if p.genes == nil {
		return fmt.Errorf("the gene table is missing: neither %s nor a protein_embeddings.pt in the same folder has it: %w",
			filepath.Base(weights), ErrGeneTable)
	}
	var err error
	c.Genes, err = newGeneTable(p.genes, p.genesSource)
	return err
}

// beside is the file that was asked for, or the one of a name in the folder of
// the weights, or "" if neither is there.
func beside(weights, asked, name string) string {
	if asked != "" {
		return asked
	}
	if candidate := filepath.Join(filepath.Dir(weights), name); exists(candidate) {
		return candidate
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// pickWeights finds the file with the weights, by its name in a folder.
func pickWeights(path, name string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	if !info.IsDir() {
		if name != "" {
			return "", fmt.Errorf("this is a file, but checkpoint=%q chooses a file in a folder: leave it out: %w", name, ErrNotFound)
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".safetensors", ".ckpt", ".pt", ".pth":
			return path, nil
		}
		return "", fmt.Errorf("neither a folder nor a .safetensors or .ckpt file: %w", ErrMalformed)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	var candidates []string
	for _, entry := range entries {
		switch strings.ToLower(filepath.Ext(entry.Name())) {
		case ".safetensors", ".ckpt":
			candidates = append(candidates, entry.Name())
		}
	}
	list := strings.Join(candidates, ", ")
	switch {
	case name != "" && slices.Contains(candidates, name):
		return filepath.Join(path, name), nil
	case len(candidates) == 0:
		return "", fmt.Errorf("no .safetensors or .ckpt file in the folder: %w", ErrNotFound)
	case name != "":
		return "", fmt.Errorf("no checkpoint %q in the folder, which has %s: %w", name, list, ErrNotFound)
	case slices.Contains(candidates, "model.safetensors"):
		return filepath.Join(path, "model.safetensors"), nil
	case len(candidates) == 1:
		return filepath.Join(path, candidates[0]), nil
	}
	return "", fmt.Errorf("the folder has several checkpoints, choose one with checkpoint=...: %s: %w", list, ErrNotFound)
}

// readLightning takes a Lightning checkpoint apart, or a bare state dict.
func (c *Checkpoint) readLightning(value any) (config, hyper tree, genes any, err error) {
	top, is := value.(*Dict)
	if !is {
		return nil, nil, nil, fmt.Errorf("the file does not contain a dict: %w", ErrMalformed)
	}
	state := top
	if inner, has := top.Get("state_dict"); has {
		if state, is = inner.(*Dict); !is {
			return nil, nil, nil, fmt.Errorf("state_dict is not a dict: %w", ErrMalformed)
		}
	}
	c.Tensors = make(map[string]*Tensor, len(state.Pairs))
	for _, p := range state.Pairs {
		name, isName := p.Key.(string)
		t, isTensor := p.Value.(*Tensor)
		if isName && isTensor {
			named := *t
			named.Name = name
			c.Tensors[name] = &named
		}
	}
	genes, _ = top.Get("protein_embeds_dict")
	if v, has := top.Get("hyper_parameters"); has {
		if m, is := plain(v).(map[string]any); is {
			hyper = m
		}
	}
	text, has := top.Get("cfg_yaml")
	if !has && hyper != nil {
		text, has = hyper.at("cfg_yaml")
	}
	if s, is := text.(string); has && is {
		config, err = parseYAML([]byte(s))
		return config, hyper, genes, err
	}
	if m, has := hyper.at("cfg"); has { // pickled omegaconf nodes, before cfg_yaml came
		if m, is := m.(map[string]any); is {
			config = m
		}
	}
	return config, hyper, genes, nil
}

// stripPrefixes undoes what torch.compile and wrappers do to names.
func stripPrefixes(tensors map[string]*Tensor) map[string]*Tensor {
	for _, wrapper := range []string{"", "model.", "module."} {
		plain := make(map[string]*Tensor, len(tensors))
		for name, t := range tensors {
			if name, wrapped := strings.CutPrefix(strings.ReplaceAll(name, "_orig_mod.", ""), wrapper); wrapped {
				plain[name] = t
			}
		}
		if plain["encoder.0.weight"] != nil {
			return plain
		}
	}
	return tensors
}

// findLicences lists licence, notice and card files of a folder.
func findLicences(folder string) []string {
	var found []string
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if info, err := os.Stat(filepath.Join(folder, entry.Name())); err != nil || !info.Mode().IsRegular() {
			continue // a link may stand for anything
		}
		for _, word := range []string{"LICENSE", "LICENCE", "NOTICE", "ACCEPTABLE_USE", "README", "MODEL_CARD"} {
			if strings.Contains(name, word) {
				found = append(found, filepath.Join(folder, entry.Name()))
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// SHA256 reads the checkpoint's files once more for their checksums, by base
// name.
func (c *Checkpoint) SHA256(ctx context.Context) (map[string]string, error) {
	sums := make(map[string]string, len(c.Files))
	buffer := make([]byte, 1<<20)
	for _, path := range c.Files {
		sum := sha256.New()
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("checkpoint: %w: %w", err, ErrNotFound)
		}
		for err == nil && ctx.Err() == nil {
			var n int
			n, err = f.Read(buffer)
			sum.Write(buffer[:n])
		}
		_ = f.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("checkpoint: %w", ctx.Err())
		}
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("checkpoint: %q: %w", path, err)
		}
		sums[filepath.Base(path)] = hex.EncodeToString(sum.Sum(nil))
	}
	return sums, nil
}

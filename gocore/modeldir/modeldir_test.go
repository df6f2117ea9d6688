package modeldir_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// newModel writes a whole directory, of three genes.
func newModel(t *testing.T) (dir string, config *modeldir.Config) {
	t.Helper()
	dir = t.TempDir()
	config = &modeldir.Config{
		FormatVersion: modeldir.FormatVersion,
		Name:          "se-mini",
		Dimensions: modeldir.Dimensions{
			NGenes: 3, TokenDim: 16, EmSize: 8, DHid: 12, NHead: 2, NLayers: 4,
			OutputDim: 7, DatasetDim: 5, PadLength: 64, CLSTokenIdx: 1,
		},
		Checksum:           "5ca1e",
		ExpressionEncoding: modeldir.SoftBins,
		Files:              map[string]modeldir.FileInfo{},
		Source: modeldir.Source{
			Name: "se-mini.ckpt", SHA256: map[string]string{"se-mini.ckpt": "00ff"},
			Writer: "se600m-go 1", Licences: []string{"licence/LICENSE"},
		},
		Notes: []string{"untrained"},
	}
	for name, content := range map[string]string{
		modeldir.GenesFile: "CD3D\nMS4A1\nLYZ\n", modeldir.WeightsFile: "weights",
		modeldir.LicenceDir + "/LICENSE": "terms",
	} {
		write(t, filepath.Join(dir, name), content)
		info, err := modeldir.Describe(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		config.Files[name] = info
	}
	if err := modeldir.Write(dir, config); err != nil {
		t.Fatal(err)
	}
	return dir, config
}

func TestWriteThenRead(t *testing.T) {
	dir, want := newModel(t)
	got, genes, err := modeldir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if wantGenes := []string{"CD3D", "MS4A1", "LYZ"}; !slices.Equal(genes, wantGenes) {
		t.Errorf("genes %q, want %q", genes, wantGenes)
	}
}

// A last line without an end is a gene like any other.
func TestGenesWithoutALastLineEnd(t *testing.T) {
	dir, config := newModel(t)
	write(t, filepath.Join(dir, modeldir.GenesFile), "CD3D\nMS4A1\nLYZ")
	delete(config.Files, modeldir.GenesFile)
	if err := modeldir.Write(dir, config); err != nil {
		t.Fatal(err)
	}
	_, genes, err := modeldir.Read(dir)
	if want := []string{"CD3D", "MS4A1", "LYZ"}; err != nil || !slices.Equal(genes, want) {
		t.Errorf("got %q, %v; want %q", genes, err, want)
	}
}

// A directory as this version of the format has it. It must stay readable: a
// field that gets another name here has got one in users' models, too.
func TestReadFormat4(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "genes.txt"), "CD3D\nLYZ\n")
	write(t, filepath.Join(dir, "config.json"), `{
  "format_version": 4,
  "name": "se-mini",
  "checksum": "5ca1e",
  "dimensions": {
    "n_genes": 2, "token_dim": 16, "emsize": 8, "d_hid": 12, "nhead": 4, "nlayers": 4,
    "output_dim": 7, "dataset_dim": 5, "pad_length": 64, "cls_token_idx": 1
  },
  "expression_encoding": "soft-bins",
  "decoder": {"read_depth": true, "dataset_dim": 5},
  "files": {"genes.txt": {"size": 9, "sha256": "665c7109227fa7b1aa204bf809f22d7be421bf21996575f62932565764d23566"}},
  "source": {"name": "m", "checkpoint": "m.ckpt", "sha256": {"m.ckpt": "00ff"}, "writer": "w 1", "licences": ["licence/LICENSE"]},
  "notes": ["untrained"],
  "a field of a later version": true
}`)
	got, genes, err := modeldir.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &modeldir.Config{
		FormatVersion: 4, Name: "se-mini", Checksum: "5ca1e",
		Dimensions: modeldir.Dimensions{
			NGenes: 2, TokenDim: 16, EmSize: 8, DHid: 12, NHead: 4, NLayers: 4,
			OutputDim: 7, DatasetDim: 5, PadLength: 64, CLSTokenIdx: 1,
		},
		ExpressionEncoding: modeldir.SoftBins,
		Decoder:            &modeldir.DecoderInputs{ReadDepth: true, DatasetDim: 5},
		Files:              map[string]modeldir.FileInfo{"genes.txt": {Size: 9, SHA256: "665c7109227fa7b1aa204bf809f22d7be421bf21996575f62932565764d23566"}},
		Source: modeldir.Source{
			Name: "m", Checkpoint: "m.ckpt", SHA256: map[string]string{"m.ckpt": "00ff"}, Writer: "w 1", Licences: []string{"licence/LICENSE"},
		},
		Notes: []string{"untrained"},
	}
	if !reflect.DeepEqual(got, want) || !slices.Equal(genes, []string{"CD3D", "LYZ"}) {
		t.Errorf("got %+v, %q; want %+v", got, genes, want)
	}
}

func TestRefusedDirectories(t *testing.T) {
	// rewrite changes fields of config.json.
	rewrite := func(change func(config map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, modeldir.ConfigFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var config map[string]any
			if err := json.Unmarshal(text, &config); err != nil {
				t.Fatal(err)
			}
			change(config)
			if text, err = json.Marshal(config); err != nil {
				t.Fatal(err)
			}
			write(t, path, string(text))
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	content := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			write(t, filepath.Join(dir, name), text)
		}
	}
	// outside lists a file that is there, with its size, beside the directory.
	outside := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := name
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, name)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			rewrite(func(config map[string]any) {
				config["files"].(map[string]any)[name] = map[string]any{"size": info.Size()}
			})(t, dir)
		}
	}
	outsideWeights := filepath.Join(t.TempDir(), "blob")
	write(t, outsideWeights, "weights")
	beside := filepath.Join(t.TempDir(), "beside")
	write(t, beside, "beside")

	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		wraps []error
		says  []string
	}{
		{
			"no config.json", remove("config.json"),
			[]error{modeldir.ErrNotAModel, fs.ErrNotExist},
			[]string{"config.json"},
		},
		{"config.json is no JSON", content("config.json", "{"), []error{modeldir.ErrNotAModel}, nil},
		{
			"two JSON values", content("config.json", `{"format_version": 4} {}`),
			[]error{modeldir.ErrNotAModel},
			nil,
		},
		{
			"a field of another type", rewrite(func(c map[string]any) { c["dimensions"] = "many" }),
			[]error{modeldir.ErrNotAModel},
			[]string{"dimensions"},
		},
		{
			"some other config.json", content("config.json", `{"model_type": "bert"}`),
			[]error{modeldir.ErrNotAModel},
			[]string{"format_version"},
		},
		{
			"a newer format", rewrite(func(c map[string]any) { c["format_version"] = modeldir.FormatVersion + 1 }),
			[]error{modeldir.ErrFormat},
			[]string{"format 5", "upgrade"},
		},
		{
			"an older format", rewrite(func(c map[string]any) { c["format_version"] = modeldir.FormatVersion - 1 }),
			[]error{modeldir.ErrFormat},
			[]string{"format 3", "convert the checkpoint again"},
		},
		{
			// The version comes first: later fields may have other types by then.
			"a newer format with other fields",
			content("config.json", `{"format_version": 9, "files": [1], "dimensions": "many"}`),
			[]error{modeldir.ErrFormat},
			[]string{"format 9"},
		},
		{
			"a file is missing", remove(modeldir.WeightsFile),
			[]error{modeldir.ErrNotAModel, fs.ErrNotExist},
			[]string{modeldir.WeightsFile},
		},
		{
			"a file in a folder is missing", remove("licence/LICENSE"),
			[]error{modeldir.ErrNotAModel, fs.ErrNotExist},
			[]string{"LICENSE"},
		},
		{
			"a file was cut off", content(modeldir.WeightsFile, "weight"),
			[]error{modeldir.ErrNotAModel},
			[]string{"weights.bin has 6 bytes instead of 7"},
		},
		{
			"a file has grown", content(modeldir.WeightsFile, "weights!"),
			[]error{modeldir.ErrNotAModel},
			[]string{"weights.bin has 8 bytes instead of 7"},
		},
		{
			"other genes of the same length", content(modeldir.GenesFile, "CD3E\nMS4A1\nLYZ\n"),
			[]error{modeldir.ErrNotAModel},
			[]string{"genes.txt was changed after the conversion"},
		},
		{
			"a file above the directory", func(t *testing.T, dir string) {
				t.Helper()
				name := "../" + filepath.Base(dir) + "/" + modeldir.WeightsFile
				outside(name)(t, dir)
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"outside the directory"},
		},
		{"a file by its absolute path", outside(beside), []error{modeldir.ErrNotAModel}, []string{"outside the directory"}},
		{"a file without a name", outside(""), []error{modeldir.ErrNotAModel}, []string{"outside the directory"}},
		{
			"genes.txt is not there, nor listed", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.GenesFile)(t, dir)
				rewrite(func(c map[string]any) { delete(c["files"].(map[string]any), modeldir.GenesFile) })(t, dir)
			},
			[]error{modeldir.ErrNotAModel, fs.ErrNotExist},
			[]string{modeldir.GenesFile},
		},
		{
			// As a converted model is in a cache that keeps contents by their checksums.
			"a link that leads out", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.WeightsFile)(t, dir)
				link(t, outsideWeights, filepath.Join(dir, modeldir.WeightsFile))
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"weights.bin is a link that leads out of the directory", "cp -rL"},
		},
		{
			"a relative link that leads out", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.GenesFile)(t, dir)
				away, err := filepath.Rel(dir, outsideWeights)
				if err != nil {
					t.Fatal(err)
				}
				link(t, away, filepath.Join(dir, modeldir.GenesFile))
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"genes.txt is a link that leads out of the directory"},
		},
		{
			"a folder that is a link that leads out", func(t *testing.T, dir string) {
				t.Helper()
				remove("licence/LICENSE")(t, dir)
				remove("licence")(t, dir)
				away := t.TempDir()
				write(t, filepath.Join(away, "LICENSE"), "terms")
				link(t, away, filepath.Join(dir, "licence"))
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"LICENSE is a link that leads out of the directory"},
		},
		{
			"config.json is a link that leads out", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.ConfigFile)(t, dir)
				link(t, "/dev/zero", filepath.Join(dir, modeldir.ConfigFile))
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"config.json is a link that leads out of the directory"},
		},
		{
			"a link to nothing", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.WeightsFile)(t, dir)
				link(t, "gone.bin", filepath.Join(dir, modeldir.WeightsFile))
			},
			[]error{modeldir.ErrNotAModel, fs.ErrNotExist},
			[]string{"weights.bin: no such file"},
		},
		{
			"links in a circle", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.WeightsFile)(t, dir)
				link(t, modeldir.WeightsFile, filepath.Join(dir, modeldir.WeightsFile))
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"weights.bin: too many levels of symbolic links"},
		},
		{
			// Nobody writes to it: to open it would take for ever.
			"config.json is a pipe", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.ConfigFile)(t, dir)
				if err := syscall.Mkfifo(filepath.Join(dir, modeldir.ConfigFile), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"config.json is not a file"},
		},
		{
			"weights.bin is a folder", func(t *testing.T, dir string) {
				t.Helper()
				remove(modeldir.WeightsFile)(t, dir)
				write(t, filepath.Join(dir, modeldir.WeightsFile, "x"), "")
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"weights.bin is not a file"},
		},
		{
			// On the disk it takes nothing.
			"a config.json of 100 GB", func(t *testing.T, dir string) {
				t.Helper()
				if err := os.Truncate(filepath.Join(dir, modeldir.ConfigFile), 100e9); err != nil {
					t.Fatal(err)
				}
			},
			[]error{modeldir.ErrNotAModel},
			[]string{"config.json has 100,000,000,000 bytes, which no model's has"},
		},
		{
			"one gene too few", rewrite(func(c map[string]any) { c["dimensions"].(map[string]any)["n_genes"] = 4 }),
			[]error{modeldir.ErrNotAModel},
			[]string{"has 3 genes", "but config.json has 4"},
		},
		{
			"one gene too many", rewrite(func(c map[string]any) { c["dimensions"].(map[string]any)["n_genes"] = 2 }),
			[]error{modeldir.ErrNotAModel},
			[]string{"has 3 genes", "but config.json has 2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := newModel(t)
			c.spoil(t, dir)
			config, genes, err := modeldir.Read(dir)
			if err == nil || config != nil || genes != nil {
				t.Fatalf("got %+v, %q, %v; want an error alone", config, genes, err)
			}
			for _, sentinel := range c.wraps {
				if !errors.Is(err, sentinel) {
					t.Errorf("got %v, want %v", err, sentinel)
				}
			}
			// Another format is one that this version can't read, not a broken model.
			if errors.Is(err, modeldir.ErrNotAModel) && errors.Is(err, modeldir.ErrFormat) {
				t.Errorf("%v is two kinds of error", err)
			}
			for _, part := range append(c.says, dir) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
	t.Run("no directory", func(t *testing.T) {
		_, _, err := modeldir.Read(filepath.Join(t.TempDir(), "nowhere"))
		if !errors.Is(err, modeldir.ErrNotAModel) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want %v and %v", err, modeldir.ErrNotAModel, fs.ErrNotExist)
		}
	})
	t.Run("not spoilt", func(t *testing.T) {
		dir, _ := newModel(t)
		rewrite(func(map[string]any) {})(t, dir)
		if _, _, err := modeldir.Read(dir); err != nil {
			t.Errorf("got %v for a directory that nothing was done to", err)
		}
	})
}

// Links that stay within a directory are as good as files, and the directory
// itself may be one.
func TestLinksWithinADirectory(t *testing.T) {
	dir, want := newModel(t)
	if err := os.Rename(filepath.Join(dir, modeldir.WeightsFile), filepath.Join(dir, "elsewhere.bin")); err != nil {
		t.Fatal(err)
	}
	link(t, "elsewhere.bin", filepath.Join(dir, modeldir.WeightsFile))
	other := filepath.Join(t.TempDir(), "link")
	link(t, dir, other)
	if got, _, err := modeldir.Read(other); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDimensionsThatNoModelHas(t *testing.T) {
	_, config := newModel(t)
	for name, change := range map[string]func(*modeldir.Config){
		"n_genes is 0":            func(c *modeldir.Config) { c.Dimensions.NGenes = 0 },
		"token_dim is -1":         func(c *modeldir.Config) { c.Dimensions.TokenDim = -1 },
		"emsize is 9223372036854": func(c *modeldir.Config) { c.Dimensions.EmSize = math.MaxInt },
		"d_hid is 0":              func(c *modeldir.Config) { c.Dimensions.DHid = 0 },
		"nhead is 0":              func(c *modeldir.Config) { c.Dimensions.NHead = 0 },
		"nlayers is 4097":         func(c *modeldir.Config) { c.Dimensions.NLayers = 4097 },
		"output_dim is 16777217":  func(c *modeldir.Config) { c.Dimensions.OutputDim = 1<<24 + 1 },
		"dataset_dim is -5":       func(c *modeldir.Config) { c.Dimensions.DatasetDim = -5 },
		"pad_length is 1":         func(c *modeldir.Config) { c.Dimensions.PadLength = 1 },
		"cls_token_idx is -1":     func(c *modeldir.Config) { c.Dimensions.CLSTokenIdx = -1 },
		"not a multiple of nhead": func(c *modeldir.Config) { c.Dimensions.NHead = 3 },
		`encoding is "hard-bins"`: func(c *modeldir.Config) { c.ExpressionEncoding = "hard-bins" },
		"decoder: dataset_dim is": func(c *modeldir.Config) { c.Decoder = &modeldir.DecoderInputs{DatasetDim: 4} },
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := newModel(t)
			changed := *config
			change(&changed)
			if err := modeldir.Write(dir, &changed); err != nil {
				t.Fatal(err)
			}
			_, _, err := modeldir.Read(dir)
			if !errors.Is(err, modeldir.ErrNotAModel) || !strings.Contains(err.Error(), "config.json: ") || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nowhere")
	err := modeldir.Write(dir, &modeldir.Config{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v; want %v, naming %q", err, fs.ErrNotExist, dir)
	}
}

func TestDescribe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	write(t, path, "abc")
	got, err := modeldir.Describe(path)
	// The test vector of FIPS 180-4 for SHA-256 of "abc".
	want := modeldir.FileInfo{Size: 3, SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := modeldir.Describe(path + "d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

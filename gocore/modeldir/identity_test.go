package modeldir_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// described is a model as far as its identity goes.
type described struct {
	config  modeldir.Config
	genes   []string
	tensors modeldir.Contents
}

func newDescribed() described {
	return described{
		modeldir.Config{
			Name: "se-mini", ExpressionEncoding: modeldir.SoftBins, Decoder: &modeldir.DecoderInputs{ReadDepth: true, DatasetDim: 5},
			Dimensions: modeldir.Dimensions{
				NGenes: 3, TokenDim: 16, EmSize: 8, DHid: 12, NHead: 2, NLayers: 4, OutputDim: 7, DatasetDim: 5, PadLength: 64, CLSTokenIdx: 1,
			},
		},
		[]string{"CD3D", "MS4A1", "LYZ"},
		modeldir.Contents{"a.weight": "00", "b.weight": "11", modeldir.GeneTable: "22"},
	}
}

func (d described) identity() string { return d.config.Identity(d.genes, d.tensors) }

// The identities in users' files must be those of the same models in all
// versions of this package.
func TestIdentityStays(t *testing.T) {
	const want = "2ecd959f44be604671a65bfd0b8e73f2ba269ca95dc8aeb6d79536acc33aed73"
	if got := newDescribed().identity(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIdentityFollowsNothingElse(t *testing.T) {
	want := newDescribed().identity()
	for name, change := range map[string]func(*described){
		"the name":            func(d *described) { d.config.Name = "renamed" },
		"the format":          func(d *described) { d.config.FormatVersion = 99 },
		"files":               func(d *described) { d.config.Files = map[string]modeldir.FileInfo{"weights.bin": {Size: 3}} },
		"the source":          func(d *described) { d.config.Source = modeldir.Source{Name: "m", Writer: "w 9"} },
		"notes":               func(d *described) { d.config.Notes = []string{"untrained"} },
		"the order of a map":  func(d *described) { d.tensors = maps.Clone(d.tensors) },
		"a checksum it holds": func(d *described) { d.config.Checksum = want },
	} {
		for range 20 { // every range over a map begins anywhere
			d := newDescribed()
			change(&d)
			if got := d.identity(); got != want {
				t.Fatalf("%s: got %s, want %s", name, got, want)
			}
		}
	}
}

func TestIdentityFollowsTheModel(t *testing.T) {
	seen := map[string]string{newDescribed().identity(): "unchanged"}
	changes := map[string]func(*described){
		"a tensor":           func(d *described) { d.tensors["a.weight"] = "01" },
		"a tensor's name":    func(d *described) { d.tensors["c.weight"] = "00"; delete(d.tensors, "a.weight") },
		"two tensors' names": func(d *described) { d.tensors["a.weight"], d.tensors["b.weight"] = "11", "00" },
		"a tensor more":      func(d *described) { d.tensors["c.weight"] = "33" },
		"the gene table":     func(d *described) { d.tensors[modeldir.GeneTable] = "23" },
		"a gene":             func(d *described) { d.genes[1] = "CD19" },
		"the order of genes": func(d *described) { slices.Reverse(d.genes) },
		"the encoding":       func(d *described) { d.config.ExpressionEncoding = modeldir.Scale },
		"no decoder":         func(d *described) { d.config.Decoder = nil },
		"no read depth":      func(d *described) { d.config.Decoder.ReadDepth = false },
		"no dataset":         func(d *described) { d.config.Decoder.DatasetDim = 0 },
	}
	dims := func(d *modeldir.Dimensions) []*int {
		return []*int{
			&d.NGenes, &d.TokenDim, &d.EmSize, &d.DHid, &d.NHead, &d.NLayers, &d.OutputDim, &d.DatasetDim, &d.PadLength, &d.CLSTokenIdx,
		}
	}
	for i := range dims(new(modeldir.Dimensions)) {
		changes[fmt.Sprintf("dimension %d", i)] = func(d *described) { *dims(&d.config.Dimensions)[i] += 100 }
	}
	for name, change := range changes {
		d := newDescribed()
		change(&d)
		got := d.identity()
		if same, has := seen[got]; has {
			t.Errorf("%s: the identity is that of %q", name, same)
		}
		seen[got] = name
	}
}

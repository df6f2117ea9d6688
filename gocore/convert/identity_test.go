package convert_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/convert"
	"github.com/se600m/se600m-go/gocore/internal/statetest"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

// checksum converts a checkpoint and tells the model's identity.
func checksum(t *testing.T, src string, o convert.Options) string {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "converted")
	if err := convert.Convert(t.Context(), src, dst, o); err != nil {
		t.Fatal(err)
	}
	config, _, err := modeldir.Read(dst)
	if err != nil {
		t.Fatal(err)
	}
	return config.Checksum
}

// A model is the same whatever it is called and whatever file it comes from.
func TestChecksumIsTheModels(t *testing.T) {
	statetest.NeedRuntime(t)
	m := statetest.NewModel(statetest.Small, "soft-bins", true)
	src := folder(t, m)
	want := checksum(t, src, convert.Options{})
	if len(want) != 64 {
		t.Errorf("checksum %q", want)
	}
	if got := checksum(t, src, convert.Options{ModelName: "another"}); got != want {
		t.Errorf("under another name: %s, want %s", got, want)
	}
	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := m.WriteFolder(moved); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(moved, "LICENSE"), []byte("not for sale"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := m.Config() + "# a comment\ntraining:\n  epochs: 16\n"
	if err := os.WriteFile(filepath.Join(moved, "config.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := checksum(t, moved, convert.Options{}); got != want {
		t.Errorf("with a licence, and a config that says more: %s, want %s", got, want)
	}
	lightning := filepath.Join(t.TempDir(), "small.ckpt")
	if err := os.WriteFile(lightning, statetest.Torch(m.Lightning()), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := checksum(t, lightning, convert.Options{}); got != want {
		t.Errorf("from a Lightning checkpoint: %s, want %s", got, want)
	}
}

// Whatever changes what the model computes changes its identity: one bit of any
// tensor that is used, of the gene table, a gene, or a hyperparameter.
func TestChecksumFollowsTheModel(t *testing.T) {
	statetest.NeedRuntime(t)
	small := statetest.Small
	small.NLayers = 1
	seen := map[string]string{}
	check := func(name string, m *statetest.Model) {
		t.Helper()
		got := checksum(t, folder(t, m), convert.Options{})
		if same, has := seen[got]; has {
			t.Errorf("%s: the checksum is that of %q", name, same)
		}
		seen[got] = name
	}
	fresh := func() *statetest.Model { return statetest.NewModel(small, "soft-bins", true) }
	check("unchanged", fresh())
	for name := range fresh().Tensors {
		m := fresh()
		tensor := m.Tensors[name]
		tensor.Bytes = bytes.Clone(tensor.Bytes)
		tensor.Bytes[0] ^= 1
		m.Tensors[name] = tensor
		check(name, m)
	}
	for name, change := range map[string]func(*statetest.Model){
		"the gene table":     func(m *statetest.Model) { m.Table[7][3]++ },
		"a gene":             func(m *statetest.Model) { m.Genes[0] = "CD3D" },
		"the order of genes": func(m *statetest.Model) { slices.Reverse(m.Genes) },
		"two rows":           func(m *statetest.Model) { m.Table[0], m.Table[1] = m.Table[1], m.Table[0] },
		"heads":              func(m *statetest.Model) { m.NHead = 2 },
		"the pad length":     func(m *statetest.Model) { m.PadLength++ },
	} {
		m := fresh()
		change(m)
		check(name, m)
	}
	m := fresh()
	src := folder(t, m)
	config := strings.Replace(m.Config(), "cls_token_idx: 3", "cls_token_idx: 4", 1)
	if err := os.WriteFile(filepath.Join(src, "config.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if same, has := seen[checksum(t, src, convert.Options{})]; has {
		t.Errorf("cls_token_idx: the checksum is that of %q", same)
	}
}

// A tensor that no graph uses is no part of the model.
func TestChecksumLeavesOutWhatIsNotUsed(t *testing.T) {
	statetest.NeedRuntime(t)
	m := statetest.NewModel(statetest.Small, "soft-bins", true)
	want := checksum(t, folder(t, m), convert.Options{})
	m.Tensors["optimizer.state"] = statetest.Float32([]float32{1, 2}, 2)
	if got := checksum(t, folder(t, m), convert.Options{}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

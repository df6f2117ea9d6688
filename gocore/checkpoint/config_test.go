package checkpoint

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const wholeConfig = `
model: {emsize: 32, d_hid: 48, nhead: 4, nlayers: 2, output_dim: 20, counts: true, rda: true, dataset_correction: true}
tokenizer: {token_dim: 24}
dataset: {pad_length: 64, cls_token_idx: 5}
`

func TestNewConfig(t *testing.T) {
	whole := Config{
		EmSize: 32, DHid: 48, NHead: 4, NLayers: 2, OutputDim: 20, TokenDim: 24, PadLength: 64, CLSTokenIdx: 5,
		ReadDepth: true, DatasetCorrection: true, ExpressionEncoding: "soft-bins",
	}
	small := Config{NHead: 4, PadLength: 64, CLSTokenIdx: 3, ExpressionEncoding: "none"}
	with := func(c Config, change func(*Config)) Config {
		change(&c)
		return c
	}
	const least = "model: {nhead: 4}\ndataset: {pad_length: 64}\n"
	for _, c := range []struct {
		name, text string
		hyper      tree
		want       Config
	}{
		{"all", wholeConfig, nil, whole},
		{"the least", least, nil, small},
		{"null is absent", least + "tokenizer: {token_dim: null}", nil, small},
		{"no counts", "model: {nhead: 4, counts: false}\ndataset: {pad_length: 64}", nil, small},
		{"scale", "model: {nhead: 4, counts: true, expression_encoding: scale}\ndataset: {pad_length: 64}", nil, with(small, func(c *Config) {
			c.ExpressionEncoding = "scale"
		})},
		{"hyper-parameters win", wholeConfig, tree{"nhead": int64(8), "d_model": int64(64), "dropout": 0.1}, with(whole, func(c *Config) {
			c.NHead, c.EmSize = 8, 64
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := parseYAML([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := newConfig(text, c.hyper); err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

const laughs = `
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]
h: &h [*g, *g, *g, *g, *g, *g, *g, *g, *g, *g]
model: {nhead: [*h, *h, *h, *h, *h, *h, *h, *h, *h, *h]}
`

func TestRefusedConfigs(t *testing.T) {
	for _, c := range []struct{ name, text, says string }{
		{"empty", "# nothing\n", "it is empty"},
		{"no YAML", "model: ]", "yaml"},
		{"a list", "- model", "yaml"},
		{"no heads", "model: {emsize: 32}\ndataset: {pad_length: 64}", "model.nhead is missing"},
		{"no pad length", "model: {nhead: 4}", "dataset.pad_length is missing"},
		{"half a head", "model: {nhead: 4.5}", "model.nhead is 4.5, not a whole number"},
		{"heads in words", "model: {nhead: four}", `model.nhead is "four"`},
		{"a list of heads", "model: {nhead: [4]}", "model.nhead is a []interface {}"},
		{"fewer than none", "model: {nhead: -4}", "model.nhead is -4"},
		{"too many", "model: {nhead: 1000000000}", "model.nhead is 1000000000"},
		{"perhaps counts", "model: {nhead: 4, counts: 1}", "model.counts is 1, neither true nor false"},
		{"too long", "model: {nhead: 4}\n#" + strings.Repeat("a", maxConfig), "more than any configuration has"},
		// Each list holds the one before ten times: 10^9 heads for whoever counts them.
		{"a billion laughs", laughs, "excessive aliasing"},
		{"a mapping in itself", "model: &a {nhead: *a}", "contains itself"},
		{"nested without end", "model: " + strings.Repeat("[", 1e5), "exceeded max depth"},
		{"unknown encoding", "model: {nhead: 4, expression_encoding: fourier}", `is "fourier", not one of`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := parseYAML([]byte(c.text))
			if err == nil {
				_, err = newConfig(text, nil)
			}
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	node := func(class string, state any) *Record { return &Record{Class: "omegaconf." + class, State: state} }
	config := node("dictconfig.DictConfig", &Dict{[]Pair{
		{"_metadata", &Record{Class: "omegaconf.base.ContainerMetadata"}},
		{"_content", &Dict{[]Pair{
			{"nhead", node("nodes.AnyNode", &Dict{[]Pair{{"_val", int64(16)}}})},
			{"sizes", node("listconfig.ListConfig", &Dict{[]Pair{{"_content", &List{Items: []any{int64(1)}}}}})},
			{"path", node("nodes.AnyNode", &Dict{[]Pair{{"_val", "${paths.data}"}}})},
			{"other", &Record{Class: "pathlib.PosixPath", State: &Dict{}}},
			{int64(3), "not a name"},
		}}},
	}})
	want := map[string]any{"nhead": int64(16), "sizes": []any{int64(1)}, "path": "${paths.data}", "other": nil}
	if got := plain(config); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

// A list of itself, and 60 lists each of which holds the one before twice: 2^60
// lists for whoever goes along every path.
func TestPlainOfContainersInThemselves(t *testing.T) {
	self := &List{}
	self.Items = []any{self, self, "x"}
	if got := plain(self); !reflect.DeepEqual(got, []any{nil, nil, "x"}) {
		t.Errorf("got %#v", got)
	}
	laughs := &List{Items: []any{"x"}}
	for range 60 {
		laughs = &List{Items: []any{laughs, laughs}}
	}
	got, depth := plain(laughs), 0
	for items, is := got.([]any); is; items, is = items[0].([]any) {
		depth++
	}
	if depth != 61 {
		t.Errorf("%d levels, want 61", depth)
	}
}

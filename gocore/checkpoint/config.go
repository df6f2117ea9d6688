package checkpoint

import (
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"go.yaml.in/yaml/v3"
)

// Config is the configuration of a State checkpoint, as far as it matters to
// embedding. A zero dimension is one that the checkpoint does not state.
type Config struct {
	EmSize, DHid, NHead, NLayers, OutputDim, TokenDim int
	PadLength                                         int
	// CLSTokenIdx is the position among a data set's valid genes whose value
	// the [CLS] slot carries.
	CLSTokenIdx int
	// ReadDepth (model.rda) and DatasetCorrection tell which inputs and tokens
	// the model has.
	ReadDepth, DatasetCorrection bool
	ExpressionEncoding           modeldir.Encoding
}

// tree is a configuration of unknown shape.
type tree map[string]any

// at looks up a value by its path.
func (t tree) at(path ...string) (any, bool) {
	var value any = map[string]any(t)
	for _, key := range path {
		m, is := value.(map[string]any)
		if !is {
			return nil, false
		}
		if value, is = m[key]; !is || value == nil {
			return nil, false
		}
	}
	return value, true
}

func (t tree) int(into *int, path ...string) error {
	value, has := t.at(path...)
	if !has {
		return nil
	}
	var n int
	switch value := value.(type) {
	case int:
		n = value
	case int64:
		n = int(value)
	default:
		return fmt.Errorf("config: %s is %s, not a whole number: %w", strings.Join(path, "."), describe(value), ErrConfig)
	}
	if n < 0 || n > 1<<24 {
		return fmt.Errorf("config: %s is %d, which is out of range: %w", strings.Join(path, "."), n, ErrConfig)
	}
	*into = n
	return nil
}

func (t tree) bool(into *bool, path ...string) error {
	value, has := t.at(path...)
	if !has {
		return nil
	}
	b, is := value.(bool)
	if !is {
		return fmt.Errorf("config: %s is %s, neither true nor false: %w", strings.Join(path, "."), describe(value), ErrConfig)
	}
	*into = b
	return nil
}

// maxConfig bounds the text of a configuration, which takes up to a hundred times
// as much memory. Those of the reference have a few kilobytes.
const maxConfig = 1 << 20

func tooLong(size int64) error {
	return fmt.Errorf("config: %d bytes are more than any configuration has (%d): %w", size, maxConfig, ErrConfig)
}

// parseYAML reads a configuration's text.
func parseYAML(text []byte) (tree, error) {
	if len(text) > maxConfig {
		return nil, tooLong(int64(len(text)))
	}
	var t map[string]any
	if err := yaml.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("config: %w: %w", err, ErrConfig)
	}
	if t == nil {
		return nil, fmt.Errorf("config: it is empty: %w", ErrConfig)
	}
	return t, nil
}

// newConfig reads what matters from the configuration and, with precedence,
// from a Lightning checkpoint's hyper-parameters.
func newConfig(t, hyper tree) (Config, error) {
	c := Config{CLSTokenIdx: 3}
	counts := false
	for _, err := range []error{
		t.int(&c.EmSize, "model", "emsize"),
		t.int(&c.DHid, "model", "d_hid"),
		t.int(&c.NHead, "model", "nhead"),
		t.int(&c.NLayers, "model", "nlayers"),
		t.int(&c.OutputDim, "model", "output_dim"),
		t.int(&c.TokenDim, "tokenizer", "token_dim"),
		t.int(&c.PadLength, "dataset", "pad_length"),
		t.int(&c.CLSTokenIdx, "dataset", "cls_token_idx"),
		t.bool(&counts, "model", "counts"),
		t.bool(&c.ReadDepth, "model", "rda"),
		t.bool(&c.DatasetCorrection, "model", "dataset_correction"),
		hyper.int(&c.EmSize, "d_model"),
		hyper.int(&c.DHid, "d_hid"),
		hyper.int(&c.NHead, "nhead"),
		hyper.int(&c.NLayers, "nlayers"),
		hyper.int(&c.OutputDim, "output_dim"),
		hyper.int(&c.TokenDim, "token_dim"),
	} {
		if err != nil {
			return Config{}, err
		}
	}
	c.ExpressionEncoding = modeldir.NoExpression
	if counts {
		c.ExpressionEncoding = modeldir.SoftBins
	}
	if value, has := t.at("model", "expression_encoding"); has {
		name, _ := value.(string)
		switch encoding := modeldir.Encoding(name); encoding {
		case modeldir.SoftBins, modeldir.Scale, modeldir.NoExpression:
			c.ExpressionEncoding = encoding
		default:
			return Config{}, fmt.Errorf("config: model.expression_encoding is %s, not one of %q, %q, %q: %w",
				describe(value), modeldir.SoftBins, modeldir.Scale, modeldir.NoExpression, ErrConfig)
		}
	}
	if c.NHead == 0 {
		return Config{}, fmt.Errorf("config: model.nhead is missing, and can't be derived from the tensors: %w", ErrConfig)
	}
	if c.PadLength == 0 {
		return Config{}, fmt.Errorf("config: dataset.pad_length is missing, and can't be derived from the tensors: %w", ErrConfig)
	}
	return c, nil
}

// maxDepth is more nesting than any configuration has.
const maxDepth = 64

// plain turns pickled containers and omegaconf nodes into maps, slices and
// scalars. Interpolations stay text.
func plain(v any) any { return plainer{}.plain(v, 0) }

// plainer has what containers became. One that stands in several places is
// turned once; one that contains itself is nothing there.
type plainer map[any]any

func (s plainer) plain(v any, depth int) any {
	switch v.(type) {
	case *Dict, *List, *Record:
	default:
		return v
	}
	if turned, known := s[v]; known || depth > maxDepth {
		return turned
	}
	s[v] = nil
	turned := s.turn(v, depth+1)
	s[v] = turned
	return turned
}

func (s plainer) turn(v any, depth int) any {
	switch v := v.(type) {
	case *Dict:
		m := make(map[string]any, len(v.Pairs))
		for _, p := range v.Pairs {
			if key, is := s.plain(p.Key, depth).(string); is {
				m[key] = s.plain(p.Value, depth)
			}
		}
		return m
	case *List:
		items := make([]any, len(v.Items))
		for i, item := range v.Items {
			items[i] = s.plain(item, depth)
		}
		return items
	case *Record:
		// omegaconf keeps a node's content in its state.
		state, is := v.State.(*Dict)
		if !is || !strings.HasPrefix(v.Class, "omegaconf.") {
			return nil
		}
		if content, has := state.Get("_content"); has {
			return s.plain(content, depth)
		}
		if value, has := state.Get("_val"); has {
			return s.plain(value, depth)
		}
	}
	return nil
}

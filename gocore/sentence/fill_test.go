package sentence_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/sentence"
)

var allFills = []sentence.Fill{
	sentence.Auto, sentence.Shared, sentence.Independent, sentence.Expected, sentence.None,
}

func TestParseFill(t *testing.T) {
	for name, want := range map[string]sentence.Fill{
		"auto": sentence.Auto, "shared": sentence.Shared, "independent": sentence.Independent,
		"expected": sentence.Expected, "none": sentence.None,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := sentence.ParseFill(name); got != want || err != nil {
				t.Errorf("ParseFill(%q) = %v, %v; want %v", name, got, err, want)
			}
			if got := want.String(); got != name {
				t.Errorf("String() = %q, want %q", got, name)
			}
		})
	}
	for _, name := range []string{"", "Shared", "random", "shared "} {
		_, err := sentence.ParseFill(name)
		if !errors.Is(err, sentence.ErrFill) {
			t.Errorf("ParseFill(%q): got %v, want %v", name, err, sentence.ErrFill)
			continue
		}
		// The message is what a caller from Python sees: it lists what may be asked for.
		for _, known := range allFills {
			if !strings.Contains(err.Error(), `"`+known.String()+`"`) {
				t.Errorf("%q does not name %q", err, known)
			}
		}
	}
}

package sentence_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// sixValid are eight columns, six of which have a gene token.
var sixValid = []int32{vocabulary.Unknown, 50, 20, 90, vocabulary.Unknown, 30, 70, 10}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name              string
		padLength         int
		fill, wantFill    sentence.Fill
		wantLength        int
		weighted, varying bool
	}{
		// A panel: six genes do not fill seven slots.
		{"panel, auto", 8, sentence.Auto, sentence.Expected, 7, true, false},
		{"panel, expected", 8, sentence.Expected, sentence.Expected, 7, true, false},
		{"panel, shared", 8, sentence.Shared, sentence.Shared, 8, false, true},
		{"panel, independent", 8, sentence.Independent, sentence.Independent, 8, false, true},
		{"panel, none", 8, sentence.None, sentence.None, 7, false, true},
		// As many genes as slots: all are taken once, whatever the policy.
		{"exact, auto", 7, sentence.Auto, sentence.Shared, 7, false, false},
		{"exact, expected", 7, sentence.Expected, sentence.Expected, 7, false, false},
		{"exact, independent", 7, sentence.Independent, sentence.Independent, 7, false, false},
		{"exact, none", 7, sentence.None, sentence.None, 7, false, true},
		// More genes than slots, as in a whole transcriptome.
		{"whole, auto", 6, sentence.Auto, sentence.Shared, 6, false, false},
		{"whole, shared", 6, sentence.Shared, sentence.Shared, 6, false, false},
		{"whole, independent", 6, sentence.Independent, sentence.Independent, 6, false, false},
		{"whole, none", 6, sentence.None, sentence.None, 6, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := sentence.NewPlan(sixValid, sentence.Options{PadLength: c.padLength, CLSPosition: 3, Fill: c.fill})
			if err != nil {
				t.Fatal(err)
			}
			if plan.Fill() != c.wantFill {
				t.Errorf("fill %v, want %v", plan.Fill(), c.wantFill)
			}
			if plan.NValid() != 6 || plan.NGenes() != 8 {
				t.Errorf("%d valid of %d genes, want 6 of 8", plan.NValid(), plan.NGenes())
			}
			if plan.MaxLength() != c.wantLength {
				t.Errorf("longest sentence %d, want %d", plan.MaxLength(), c.wantLength)
			}
			if plan.Weighted() != c.weighted || plan.Varying() != c.varying {
				t.Errorf("weighted %v, varying %v; want %v, %v", plan.Weighted(), plan.Varying(), c.weighted, c.varying)
			}
		})
	}
}

func TestRefusedPlans(t *testing.T) {
	for _, c := range []struct {
		name    string
		tokens  []int32
		options sentence.Options
		wraps   error
		says    []string
	}{
		{
			"no genes", nil,
			sentence.Options{PadLength: 8, CLSPosition: 3},
			sentence.ErrTooFewGenes,
			[]string{"0 valid genes", "valid gene 4"},
		},
		{
			"no gene is known",
			[]int32{vocabulary.Unknown, vocabulary.Unknown, vocabulary.Unknown, vocabulary.Unknown},
			sentence.Options{PadLength: 8, CLSPosition: 3},
			sentence.ErrTooFewGenes,
			[]string{"0 valid genes"},
		},
		{
			// Eight columns, but the [CLS] slot counts valid genes alone.
			"one valid gene short", sixValid,
			sentence.Options{PadLength: 8, CLSPosition: 6},
			sentence.ErrTooFewGenes,
			[]string{"6 valid genes", "valid gene 7"},
		},
		{
			"position before the first gene", sixValid,
			sentence.Options{PadLength: 8, CLSPosition: -1},
			sentence.ErrTooFewGenes, nil,
		},
		{
			"expected with more genes than slots", sixValid,
			sentence.Options{PadLength: 6, CLSPosition: 3, Fill: sentence.Expected},
			sentence.ErrFill,
			[]string{"has room for 5, but there are 6", "6 valid genes", `"shared"`},
		},
		{
			"no slot but [CLS]", sixValid,
			sentence.Options{PadLength: 1, CLSPosition: 3},
			sentence.ErrFill,
			[]string{"pad length of 1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := sentence.NewPlan(c.tokens, c.options)
			if !errors.Is(err, c.wraps) || plan != nil {
				t.Fatalf("got %v, %v; want %v", plan, err, c.wraps)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
	t.Run("the fewest genes", func(t *testing.T) {
		options := sentence.Options{PadLength: 8, CLSPosition: 5}
		if _, err := sentence.NewPlan(sixValid, options); err != nil {
			t.Errorf("valid gene 6 of 6 is there: got %v", err)
		}
	})
}

// Every number that is no policy, or no scale, is refused and has a name to be refused by.
func TestUnknownChoicesAreRefused(t *testing.T) {
	for number := range 256 {
		options := sentence.Options{PadLength: 8, CLSPosition: 3}
		options.Fill = sentence.Fill(number)
		_, err := sentence.NewPlan(sixValid, options)
		switch known := options.Fill <= sentence.None; {
		case known && err != nil:
			t.Errorf("%v: %v", options.Fill, err)
		case !known && (!errors.Is(err, sentence.ErrFill) || !strings.Contains(err.Error(), fmt.Sprintf(`fill="Fill(%d)"`, number))):
			t.Errorf("fill %d: got %v, want %v", number, err, sentence.ErrFill)
		}
		options.Fill, options.Scale = sentence.Auto, expression.Scale(number)
		_, err = sentence.NewPlan(sixValid, options)
		switch known := options.Scale <= expression.Log1p; {
		case known && err != nil:
			t.Errorf("%v: %v", options.Scale, err)
		case !known && (!errors.Is(err, expression.ErrScale) || !strings.Contains(err.Error(), fmt.Sprintf(`"Scale(%d)"`, number))):
			t.Errorf("scale %d: got %v, want %v", number, err, expression.ErrScale)
		}
	}
}

package vocabulary

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var genes = []string{"CD3D", "MS4A1", "NKG7", "LYZ", "GNLY"}

func TestMatch(t *testing.T) {
	v, err := New(genes)
	if err != nil {
		t.Fatal(err)
	}
	m := v.Match([]string{"LYZ", "XIST", "CD3D", "", "LYZ", "cd3d"})
	if want := []int32{3, Unknown, 0, Unknown, 3, Unknown}; !slices.Equal(m.Tokens, want) {
		t.Errorf("tokens %v, want %v", m.Tokens, want)
	}
	if m.NMatched != 3 || m.NRepeated != 1 || m.Coverage() != 0.5 {
		t.Errorf("%d matched, %d repeated, coverage %v", m.NMatched, m.NRepeated, m.Coverage())
	}
	if want := []string{"XIST", "", "cd3d"}; !slices.Equal(m.Missing, want) {
		t.Errorf("missing %q, want %q", m.Missing, want)
	}
	if v.CLS() != 5 || v.Token("GNLY") != 4 {
		t.Errorf("CLS %d, GNLY %d", v.CLS(), v.Token("GNLY"))
	}
}

func TestRequire(t *testing.T) {
	v, err := New(genes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		symbols []string
		minimum float64
		says    []string // nil: no error
	}{
		{"enough", []string{"LYZ", "NKG7", "XIST"}, 0.5, nil},
		{"exactly enough", []string{"LYZ", "XIST"}, 0.5, nil},
		{"too few", []string{"LYZ", "XIST", "TSIX"}, 0.5, []string{"1 of 3 genes (33.3 %)", "50.0 %", `"XIST", "TSIX"`, `"CD3D"`}},
		{"none, though none is asked for", []string{"XIST"}, 0, []string{"0 of 1 genes"}},
		{"no genes", nil, 0, []string{"0 of 0 genes", "looked for nothing"}},
		{"Ensembl ids", []string{"ENSG00000167286", "ENSG00000156738"}, 0.1, []string{"Ensembl", "gene_column"}},
		{"mouse symbols", []string{"Cd3d", "Ms4a1"}, 0.1, []string{"mouse", `"Cd3d"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := v.Match(c.symbols).Require(c.minimum)
			if c.says == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrCoverage) {
				t.Fatalf("got %v", err)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestRefusedVocabularies(t *testing.T) {
	for name, list := range map[string][]string{
		"empty":        nil,
		"empty name":   {"CD3D", ""},
		"a gene twice": {"CD3D", "LYZ", "CD3D"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(list); !errors.Is(err, ErrVocabulary) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func ExampleVocabulary_Match() {
	v, err := New([]string{"CD3D", "MS4A1", "NKG7"})
	if err != nil {
		panic(err)
	}
	m := v.Match([]string{"MS4A1", "MALAT1"})
	fmt.Println(m.Tokens, m.Coverage(), v.CLS())
	// Output: [1 -1] 0.5 3
}

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
	m := v.Match(Column{"var_names", []string{"LYZ", "XIST", "CD3D", "", "LYZ", "cd3d"}})
	if want := []int32{3, Unknown, 0, Unknown, 3, Unknown}; !slices.Equal(m.Tokens, want) {
		t.Errorf("tokens %v, want %v", m.Tokens, want)
	}
	if m.NMatched != 3 || m.NRepeated != 1 || m.Coverage() != 0.5 {
		t.Errorf("%d matched, %d repeated, coverage %v", m.NMatched, m.NRepeated, m.Coverage())
	}
	if want := []string{"XIST", "cd3d"}; !slices.Equal(m.Missing, want) {
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
		{"no genes", nil, 0, []string{"0 of 0 genes", "for nothing"}},
		{"no names", []string{"", "", "XIST"}, 0.1, []string{"2 of 3 genes have no name", "gene_column"}},
		{"numbers", []string{"0", "1", "2"}, 0.1, []string{"these are numbers", "gene_column"}},
		{"mouse ids", []string{"ENSMUSG00000032094", "ENSMUSG00000024673"}, 0.1, []string{"another species"}},
		{"mouse symbols", []string{"Cd3d", "Ms4a1"}, 0.1, []string{"mouse", `"Cd3d"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := v.Match(Column{"var_names", c.symbols}).Require(c.minimum)
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

func TestEnsemblIDs(t *testing.T) {
	v, err := New([]string{"CD3D", "MS4A1", "VAMP7", "ENSG00000000003"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		want int32
	}{
		{"ENSG00000167286", 0},
		{"ENSG00000167286.9", 0},
		{"ENSG00000156738.18", 1},
		{"ENSG00000124333.16_PAR_Y", 2},
		{"ENSG00000000003", 3}, // the vocabulary's own name goes first
		{"ENSG00000167286x", Unknown},
		{"ENSG0000016728", Unknown},
		{"ENSG00000167286 ", Unknown},
		{"ENSGabcdefghijk", Unknown},
		{"ENSMUSG00000032094", Unknown},
		{"ENST00000300692", Unknown},
		{"ENSG99999999999", Unknown},
		{"ensg00000167286", Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := v.Match(Column{"var_names", []string{c.name}})
			if m.Tokens[0] != c.want {
				t.Errorf("token %d, want %d", m.Tokens[0], c.want)
			}
		})
	}
	m := v.Match(Column{"gene_ids", []string{"ENSG00000167286", "MS4A1", "ENSG00000167286.2"}})
	if m.NMatched != 3 || m.NByID != 2 || m.NRepeated != 1 || !slices.Equal(m.Repeated, []string{"ENSG00000167286.2"}) {
		t.Errorf("%+v", m)
	}
}

func TestEnsemblTable(t *testing.T) {
	symbols, err := readEnsemblTable(ensemblTable)
	if err != nil {
		t.Fatal(err)
	}
	if len(symbols) < 40_000 {
		t.Errorf("%d genes", len(symbols))
	}
	for id, symbol := range map[string]string{
		"ENSG00000010610": "CD4", "ENSG00000153563": "CD8A", "ENSG00000090382": "LYZ", "ENSG00000145416": "MARCHF1",
	} {
		if got := SymbolOf(id); got != symbol {
			t.Errorf("%s is %q, want %q", id, got, symbol)
		}
	}
	if _, err := readEnsemblTable([]byte("no gzip")); err == nil {
		t.Error("a damaged table was read")
	}
}

func TestMatchBest(t *testing.T) {
	v, err := New(genes)
	if err != nil {
		t.Fatal(err)
	}
	names := Column{"var_names", []string{"0", "1", "GNLY", "3"}}
	symbols := Column{"var['symbol']", []string{"CD3D", "MS4A1", "NKG7", "XIST"}}
	repeated := Column{"var['first']", []string{"CD3D", "CD3D", "CD3D", "CD3D"}}
	ids := Column{"var['id']", []string{"ENSG00000167286", "ENSG00000156738", "ENSG00000105374", "ENSG00000229807"}}
	for _, c := range []struct {
		name    string
		columns []Column
		want    string
	}{
		{"one chance match does not win", []Column{names, symbols}, "var['symbol']"},
		{"of equals the first", []Column{symbols, ids}, "var['symbol']"},
		{"ids", []Column{names, ids}, "var['id']"},
		{"distinct genes count", []Column{repeated, symbols}, "var['symbol']"},
		{"a single column", []Column{names}, "var_names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m := v.MatchBest(c.columns); m.Column != c.want {
				t.Errorf("took %s, want %s", m.Column, c.want)
			}
		})
	}
	err = v.MatchBest([]Column{names, {"var['x']", []string{"a", "b", "c", "d"}}}).Require(0.5)
	if err == nil || !strings.Contains(err.Error(), "looked in var_names (1), var['x'] (0)") {
		t.Errorf("%v does not say where it looked", err)
	}
}

func TestSuggestionsAreMadeAndNotTaken(t *testing.T) {
	v, err := New([]string{"CD3D", "HLA-DRA", "MARCHF1", "SEPT7", "C1orf112"})
	if err != nil {
		t.Fatal(err)
	}
	for given, known := range map[string]string{
		"cd3d": "CD3D", "Cd3d": "CD3D", "HLA.DRA": "HLA-DRA", "MARCH1": "MARCHF1", "SEPTIN7": "SEPT7",
		"C1ORF112": "C1orf112", "XIST": "", "MARCH2": "", "-": "",
	} {
		t.Run(given, func(t *testing.T) {
			if got := v.Suggest(given); got != known {
				t.Errorf("suggests %q, want %q", got, known)
			}
			m := v.Match(Column{"var_names", []string{given}})
			if m.NMatched != 0 || m.NClose != len(m.Close) || (m.NClose == 1) != (known != "") {
				t.Errorf("%+v", m)
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
	m := v.Match(Column{"var_names", []string{"MS4A1", "MALAT1"}})
	fmt.Println(m.Tokens, m.Coverage(), v.CLS())
	// Output: [1 -1] 0.5 3
}

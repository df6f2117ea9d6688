package vocabulary

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var genes = []string{"CD3D", "MS4A1", "NKG7", "LYZ", "GNLY"}

func made(t *testing.T, symbols ...string) *Vocabulary {
	t.Helper()
	v, err := New(symbols)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func named(names ...string) Column {
	return Column{Name: "var_names", Genes: names, Target: "adata.var_names"}
}

func TestMatch(t *testing.T) {
	v := made(t, genes...)
	m := v.Match(named("LYZ", "XIST", "CD3D", "", "LYZ", "cd3d"))
	if want := []int32{3, Unknown, 0, Unknown, 3, Unknown}; !slices.Equal(m.Tokens, want) {
		t.Errorf("tokens %v, want %v", m.Tokens, want)
	}
	if m.NMatched != 3 || m.NRepeated != 1 || m.Coverage() != 0.5 || m.CoverageOfModel() != 0.4 {
		t.Errorf("%d matched, %d repeated, coverage %v, %v", m.NMatched, m.NRepeated, m.Coverage(), m.CoverageOfModel())
	}
	if want := []string{"XIST", "cd3d"}; !slices.Equal(m.Missing, want) {
		t.Errorf("missing %q, want %q", m.Missing, want)
	}
	if v.CLS() != 5 || v.Token("GNLY") != 4 {
		t.Errorf("CLS %d, GNLY %d", v.CLS(), v.Token("GNLY"))
	}
}

func TestEnsemblIDs(t *testing.T) {
	v := made(t, "CD3D", "MS4A1", "VAMP7", "ENSG00000000003")
	for _, c := range []struct {
		name string
		want int32
	}{
		{"ENSG00000167286", 0},
		{"ENSG00000167286.9", 0},
		{"ENSG00000167286.9_2", 0}, // a lifted annotation
		{"ENSG00000156738.18", 1},
		{"ENSG00000124333.16_PAR_Y", 2},
		{"ENSG00000124333_PAR_Y", 2},
		{"ENSG00000000003", 3}, // the vocabulary's own name goes first
		{"ENSG00000167286x", Unknown},
		{"ENSG00000167286.", Unknown},
		{"ENSG00000167286_CD3D", Unknown},
		{"ENSG0000016728", Unknown},
		{"ENSG00000167286 ", Unknown},
		{"ENSGabcdefghijk", Unknown},
		{"ENSMUSG00000032094", Unknown},
		{"ENST00000300692", Unknown},
		{"ENSG99999999999", Unknown},
		{"ensg00000167286", Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := v.Match(named(c.name))
			if m.Tokens[0] != c.want {
				t.Errorf("token %d, want %d", m.Tokens[0], c.want)
			}
		})
	}
	m := v.Match(named("ENSG00000167286", "MS4A1", "ENSG00000167286.2", "ENSG00000010610", "ENSG99999999999", "ENST00000300692"))
	if m.NMatched != 3 || m.NByID != 2 || m.NRepeated != 1 || !slices.Equal(m.Repeated, []string{"ENSG00000167286.2"}) || m.NIDsUnknown != 2 {
		t.Errorf("%+v", m)
	}
}

func TestTables(t *testing.T) {
	table, err := readEnsemblTable(ensemblTable)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.byID) < 40_000 {
		t.Errorf("%d ids", len(table.byID))
	}
	for id, symbol := range map[string]string{
		"ENSG00000010610": "CD4", "ENSG00000153563.16": "CD8A", "ENSG00000090382": "LYZ", "ENSG00000145416": "MARCHF1",
		"ENSG00000204628": "RACK1", "ENSG99999999999": "", "CD4": "",
	} {
		if got := SymbolOf(id); got != symbol {
			t.Errorf("%s is %q, want %q", id, got, symbol)
		}
	}
	n, err := readHGNCTable(hgncTable)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.bySymbol) < 40_000 || len(n.byPrevious) < 10_000 || len(n.byID) < 39_000 {
		t.Errorf("%d symbols, %d previous ones, %d ids", len(n.bySymbol), len(n.byPrevious), len(n.byID))
	}
	for symbol := range n.byPrevious {
		if n.bySymbol[symbol] != nil {
			t.Errorf("%s is a previous symbol and an approved one", symbol)
		}
	}
	for _, damaged := range []func() error{
		func() error { _, err := readEnsemblTable([]byte("no gzip")); return err },
		func() error { _, err := readHGNCTable([]byte("no gzip")); return err },
		func() error { _, err := readHGNCTable(ensemblTable); return err },
		func() error { _, err := readEnsemblTable(hgncTable); return err },
	} {
		if damaged() == nil {
			t.Error("a damaged table was read")
		}
	}
	if size := len(ensemblTable) + len(hgncTable); size > 1_500_000 {
		t.Errorf("the tables take %d bytes", size)
	}
}

func TestRenamedGenes(t *testing.T) {
	for _, c := range []struct {
		what         string
		model, names []string
		want         []int32
		renamed      int
	}{
		{"a newer symbol than the model's", []string{"CD3D", "GNB2L1", "ATP5E"}, []string{"RACK1", "ATP5F1E"}, []int32{1, 2}, 2},
		{"an older symbol than the model's", []string{"CD3D", "RACK1", "ATP5F1E"}, []string{"GNB2L1", "ATP5E"}, []int32{1, 2}, 2},
		{"two older symbols of one gene", []string{"MOSC1", "SEPT7"}, []string{"MARC1", "CDC10"}, []int32{0, 1}, 2},
		{"an id", []string{"GNB2L1", "ATP5E", "CD3D"}, []string{"ENSG00000204628", "ENSG00000124172.9", "ENSG00000167286"}, []int32{0, 1, 2}, 2},
		{"families that spreadsheets took for dates", []string{"MARCHF1", "SEPTIN2", "MTARC1", "DELEC1"}, []string{"MARCH1", "SEPT2", "MARC1", "DEC1"}, []int32{0, 1, 2, 3}, 4},
		{"the model's own symbol goes first", []string{"GNB2L1"}, []string{"RACK1", "GNB2L1"}, []int32{Unknown, 0}, 0},
		{"and its id", []string{"RACK1"}, []string{"GNB2L1", "ENSG00000204628"}, []int32{Unknown, 0}, 0},
		{"then the newer symbol", []string{"MOSC1"}, []string{"MARC1", "MTARC1"}, []int32{Unknown, 0}, 1},
		{"then the first", []string{"MTARC1"}, []string{"MOSC1", "MARC1"}, []int32{0, Unknown}, 1},
		{"a model with both", []string{"GNB2L1", "RACK1"}, []string{"RACK1", "GNB2L1", "ENSG00000204628"}, []int32{1, 0, 1}, 0},
		{"a symbol that two genes had", []string{"QARS1", "EPRS1"}, []string{"QARS"}, []int32{Unknown}, 0},
		{"a symbol that is a family's today", []string{"CD8A", "CD8B"}, []string{"CD8"}, []int32{Unknown}, 0},
		{"an antigen", []string{"MS4A1", "PTPRC"}, []string{"CD20", "CD45"}, []int32{Unknown, Unknown}, 0},
		{"a gene that has an antigen's name", []string{"ADGRE5"}, []string{"CD97"}, []int32{0}, 1},
		{"an alias", []string{"PDCD1", "CD274", "ERBB2"}, []string{"PD1", "PDL1", "HER2"}, []int32{Unknown, Unknown, Unknown}, 0},
		{"small letters", []string{"GNB2L1"}, []string{"rack1"}, []int32{Unknown}, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := made(t, c.model...).Match(named(c.names...))
			if !slices.Equal(m.Tokens, c.want) || m.NRenamed != c.renamed {
				t.Errorf("tokens %v, %d renamed; want %v, %d", m.Tokens, m.NRenamed, c.want, c.renamed)
			}
			if m.NMatched+m.NLeftOut+len(m.missing) != len(c.names) || len(m.LeftOut) != m.NLeftOut || len(m.Renamed) != m.NRenamed {
				t.Errorf("%+v", m)
			}
		})
	}
	m := made(t, "GNB2L1").Match(named("ENSG00000204628", "RACK1", "RACK1"))
	if !slices.Equal(m.IsLeftOut, []uint8{0, 1, 1}) {
		t.Error(m.IsLeftOut)
	}
	if m.NMatched != 1 || m.NByID != 1 || m.NRenamed != 1 || m.NLeftOut != 2 || m.LeftOut[0] != (Suggestion{"RACK1", "GNB2L1"}) {
		t.Errorf("%+v", m)
	}
}

// TestNumberedNames: what AnnData's var_names_make_unique makes of genes behind
// antibodies of the same names.
func TestNumberedNames(t *testing.T) {
	for _, c := range []struct {
		what                  string
		model, names, others  []string
		want                  []int32
		nNumbered, nUnmatched int
	}{
		{"behind an antibody", []string{"CD4", "LYZ"}, []string{"LYZ", "CD4-1"}, []string{"CD4"}, []int32{1, 0}, 1, 0},
		{"as R numbers", []string{"CD4"}, []string{"CD4.1"}, []string{"CD4", ""}, []int32{0}, 1, 0},
		{"twice", []string{"CD4"}, []string{"CD4-1", "CD4-2"}, []string{"CD4"}, []int32{0, 0}, 2, 0},
		{"a newer symbol", []string{"GNB2L1"}, []string{"RACK1-1"}, []string{"RACK1"}, []int32{0}, 1, 0},
		{"nothing else has the name", []string{"CD4"}, []string{"CD4-1"}, []string{"CD8"}, []int32{Unknown}, 0, 1},
		{"a gene has it, too", []string{"CD4"}, []string{"CD4", "CD4-1"}, []string{"CD4"}, []int32{0, Unknown}, 0, 1},
		{"a gene's own number", []string{"CD4", "NKX2-1"}, []string{"NKX2-1", "NKX2-2"}, []string{"NKX2"}, []int32{1, Unknown}, 0, 1},
		{"a gene that the model lacks", []string{"CD4"}, []string{"CD8A-1"}, []string{"CD8A"}, []int32{Unknown}, 0, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := made(t, c.model...).Match(Column{Name: "var_names", Genes: c.names, Others: c.others})
			if !slices.Equal(m.Tokens, c.want) || m.NNumbered != c.nNumbered || len(m.missing) != c.nUnmatched {
				t.Errorf("tokens %v, %d numbered, unknown %v", m.Tokens, m.NNumbered, m.missing)
			}
		})
	}
}

// TestFirstOf: genes of one name, and of one name but for a number.
func TestFirstOf(t *testing.T) {
	names := []string{"CD4-1", "A", "CD4", "CD4.2", "A", "NKX2-1", "", "-1", "", "CD4-1", "CD4x1", "ENSG00000141510.18"}
	want := []int32{2, 1, 2, 2, 1, 5, 6, 7, 6, 0, 10, 11}
	if got := made(t, "CD4").MatchBest([]Column{{Name: "var_names", Genes: names}}).FirstOf; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestMatchBest(t *testing.T) {
	v := made(t, genes...)
	names := named("0", "1", "GNLY", "3")
	symbols := Column{Name: "var['symbol']", Genes: []string{"CD3D", "MS4A1", "NKG7", "XIST"}}
	repeated := Column{Name: "var['first']", Genes: []string{"CD3D", "CD3D", "CD3D", "CD3D"}}
	ids := Column{Name: "var['id']", Genes: []string{"ENSG00000167286", "ENSG00000156738", "ENSG00000105374", "ENSG00000229807"}}
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
	err := v.MatchBest([]Column{names, {Name: "var['x']", Genes: []string{"a", "b", "c", "d"}}}).Require(0.5)
	if err == nil || !strings.Contains(err.Error(), "Searched in var_names (1), var['x'] (0)") {
		t.Errorf("%v does not say where it looked", err)
	}
}

func TestSuggestions(t *testing.T) {
	v := made(t, "CD3D", "CD8A", "CD8B", "CD80", "PDCD1", "CD274", "ERBB2", "MS4A1", "TP53", "HLA-DRA", "GNB2L1", "C1orf112", "QARS1", "EPRS1")
	for name, want := range map[string]string{
		"CD8": "CD8A CD8B", "PD1": "PDCD1", "PD-1": "PDCD1", "PDL1": "CD274", "PD-L1": "CD274", "HER2": "ERBB2", "CD20": "MS4A1",
		"P53": "TP53", "p53": "TP53", "cd3d": "CD3D", "Cd3d": "CD3D", "HLA.DRA": "HLA-DRA", "HLA-DR": "HLA-DRA", "CD3": "CD3D",
		"C1ORF112": "C1orf112", "rack1": "GNB2L1", "QARS": "EPRS1 QARS1", "CD8a": "CD8A", "XIST": "", "": "", "-": "", "X": "",
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(v.Suggestions(name), " "); got != want {
				t.Errorf("suggests %q, want %q", got, want)
			}
			if token, _ := v.Find(name); token != Unknown {
				t.Errorf("takes it for %s", v.genes[token])
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"PDCD1": "PDCD1", "GNB2L1": "RACK1", "PDL1": "CD274", "MARCH1": "MARCHF1", "pdcd1": "PDCD1", "no gene": "", "": "",
	} {
		if got := strings.Join(NamesOf(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"ENSG00000167286.9": "a human Ensembl id", "ENSMUSG00000032094": "an Ensembl id of mouse", "7157": "a number",
		"ENST00000300692": "the Ensembl id of a transcript or protein", "ENSDARG00000032094": "an Ensembl id of another species",
		"NM_000732.6": "a RefSeq accession", "P04234": "a UniProt accession", "HGNC:1673": "an HGNC id", "CD3D": "", "": "",
	} {
		if got := About(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
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
	m := v.Match(Column{Name: "var_names", Genes: []string{"MS4A1", "MALAT1"}})
	fmt.Println(m.Tokens, m.Coverage(), v.CLS())
	// Output: [1 -1] 0.5 3
}

// The last match is kept: other names, or the same under another column's name,
// get their own, and totals stay with the caller who set them.
func TestMatchBestAgain(t *testing.T) {
	v, err := New([]string{"CD3D", "CD4", "MS4A1"})
	if err != nil {
		t.Fatal(err)
	}
	match := func(column string, genes ...string) *Match {
		return v.MatchBest([]Column{{Name: column, Genes: genes}})
	}
	first := match("var_names", "CD4", "CD8A")
	first.Totals = []float64{1, 2}
	if again := match("var_names", "CD4", "CD8A"); again.NMatched != 1 || again.Totals != nil || !slices.Equal(again.Tokens, first.Tokens) {
		t.Errorf("again: %+v", again)
	}
	if other := match("var_names", "CD4", "MS4A1"); other.NMatched != 2 {
		t.Errorf("other names: %+v", other)
	}
	if other := match("symbols", "CD4", "MS4A1"); other.Column != "symbols" {
		t.Errorf("another column: %+v", other)
	}
}

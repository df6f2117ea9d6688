package vocabulary

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// markers are genes that a panel might have.
var markers = strings.Fields(`CD3D CD3E CD4 CD8A CD8B CD14 CD19 CD79A MS4A1 NKG7 GNLY LYZ FCN1 CST3 S100A8 S100A9 TP53
	HLA-A HLA-B HLA-DRA HLA-DRB1 MT-ND1 MT-CO1 NKX2-1 C1orf50 C12orf57 7SK IL7R CCR7 PPBP FCER1A MARCHF3 SEPTIN2 DELEC1`)

func idOf(symbol string) string {
	if symbol == "7SK" { // a name that HGNC does not have
		return "ENSG00000283293"
	}
	return fmt.Sprintf("ENSG%011d", hgnc().bySymbol[symbol].id)
}

func each(change func(i int, symbol string) string) []string {
	names := make([]string, len(markers))
	for i, symbol := range markers {
		names[i] = change(i, symbol)
	}
	return names
}

func around(before, after string) []string {
	return each(func(_ int, s string) string { return before + s + after })
}

func TestRepairs(t *testing.T) {
	v := made(t, markers...)
	const target = "adata.var_names = adata.var_names"
	for _, c := range []struct {
		what  string
		names []string
		line  string
	}{
		{"prefix", around("hg19_", ""), `.str.removeprefix("hg19_")`},
		{"prefix with hyphen", around("GRCh38-", ""), `.str.removeprefix("GRCh38-")`},
		{"prefix of several", around("GRCh38______", ""), `.str.removeprefix("GRCh38______")`},
		{"prefix with two joints", around("GRCh38.p13_", ""), `.str.removeprefix("GRCh38.p13_")`},
		{"prefix without joint", around("hg19", ""), `.str.removeprefix("hg19")`},
		{"prefix of Seurat's assay", around("rna_", ""), `.str.removeprefix("rna_")`},
		{"prefix of a GTF", around("gene:", ""), `.str.removeprefix("gene:")`},
		{"prefix of most", append(around("human_", ""), "ERCC-00002", "x", "y"), `.str.removeprefix("human_")`},
		{"suffix", around("", "_hg19"), `.str.removesuffix("_hg19")`},
		{"suffix with hyphen", around("", "-human"), `.str.removesuffix("-human")`},
		{"suffix of UniProt", around("", "_HUMAN"), `.str.removesuffix("_HUMAN")`},
		{"same number", around("", ".1"), `.str.removesuffix(".1")`},
		{"numbers", each(func(i int, s string) string { return fmt.Sprintf("%s-%d", s, i) }), `.str.replace(r"[-._]\d+$", "", regex=True)`},
		{"symbol_id", each(func(_ int, s string) string { return s + "_" + idOf(s) }), `.str.replace(r"[^A-Za-z0-9]+ENSG\d{11}.*$", "", regex=True)`},
		{"symbol-id.version", each(func(_ int, s string) string { return s + "-" + idOf(s) + ".7" }), `.str.replace(r"[^A-Za-z0-9]+ENSG\d{11}.*$", "", regex=True)`},
		{"symbol (id)", each(func(_ int, s string) string { return s + " (" + idOf(s) + ")" }), `.str.replace(r"[^A-Za-z0-9]+ENSG\d{11}.*$", "", regex=True)`},
		{"id_symbol", each(func(_ int, s string) string { return idOf(s) + "_" + s }), `.str.replace(r"^ENSG\d{11}([._]\d+)?[^A-Za-z0-9.]+|\)$", "", regex=True)`},
		{"id|symbol", each(func(_ int, s string) string { return idOf(s) + "|" + s }), `.str.replace(r"^ENSG\d{11}([._]\d+)?[^A-Za-z0-9.]+|\)$", "", regex=True)`},
		{"id.version-symbol", each(func(_ int, s string) string { return idOf(s) + ".3-" + s }), `.str.replace(r"^ENSG\d{11}([._]\d+)?[^A-Za-z0-9.]+|\)$", "", regex=True)`},
		{"symbol|entrez", each(func(i int, s string) string { return fmt.Sprintf("%s|%d", s, 7157+i) }), `.str.split("|", regex=False).str[0].str.strip()`},
		{"symbol;id", each(func(i int, s string) string { return fmt.Sprintf("%s; HGNC:%d", s, i) }), `.str.split("; ", regex=False).str[0].str.strip()`},
		{"entrez|symbol", each(func(i int, s string) string { return fmt.Sprintf("%d|%s", 7157+i, s) }), `.str.split("|", regex=False).str[-1].str.strip()`},
		{"blanks behind", around("", "  "), `.str.strip()`},
		{"blanks before", around(" \t", ""), `.str.strip()`},
		{"blanks that don't break", around("", "\u00a0"), `.str.strip()`},
		{"blanks around ids", each(func(_ int, s string) string { return idOf(s) + " " }), `.str.strip()`},
		{"quotes", around(`"`, `"`), `.str.strip("\"")`},
		{"quotes and blanks", around(`'`, `' `), `.str.strip(" '")`},
		{"characters without width", around("\ufeff", "\u200b"), `.str.strip("\u200b\ufeff")`},
		{"and within", each(func(_ int, s string) string { return s[:1] + "\u200b" + s[1:] }), `.str.replace(r"[\u200b-\u200d\u2060\ufeff\u00ad]", "", regex=True)`},
		{"bytes", around("b'", "'"), `.str.slice(2, -1)`},
		{"small letters", each(func(_ int, s string) string { return strings.ToLower(s) }), `.str.upper()`},
		{"small letters of ids", each(func(_ int, s string) string { return strings.ToLower(idOf(s)) }), `.str.upper()`},
		{"numbers before", each(func(i int, s string) string { return fmt.Sprintf("%d.%s", i*37, s) }), `.str.replace(r"^\d+[^A-Za-z0-9]+", "", regex=True)`},
		{"full width", each(func(_ int, s string) string {
			return strings.Map(func(r rune) rune { return r + 0xfee0 }, s)
		}), `.str.normalize("NFKC")`},
		{"underscores", each(func(_ int, s string) string { return "human_" + strings.ReplaceAll(s, "-", "_") }), `.str.removeprefix("human_")`},
		{"two at once", around(`"GRCh38_`, `"`), `.str.strip("\"").str.removeprefix("GRCh38_")`},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := v.MatchBest([]Column{named(c.names...)})
			if len(m.Repairs) == 0 {
				t.Fatal("nothing was recognised")
			}
			r := m.Repairs[0]
			if r.Line != target+c.line {
				t.Errorf("%s (%d), want %s", r.Line, r.N, target+c.line)
			}
			if 3*r.N < 2*len(markers) || m.NMatched != 0 {
				t.Errorf("%d names repaired, %d matched", r.N, m.NMatched)
			}
			n := 0
			for _, of := range m.RepairOf {
				if of == 0 {
					n++
				}
			}
			if n != r.N {
				t.Errorf("%d names belong to the repair of %d", n, r.N)
			}
			err := m.Require(0.1)
			if err == nil || !strings.Contains(err.Error(), r.Line) || !strings.Contains(err.Error(), fmt.Sprintf("%q for %q", r.Examples[0].Given, r.Examples[0].Known)) {
				t.Errorf("%v does not have the line", err)
			}
		})
	}
}

func TestRepairsOfSomeNames(t *testing.T) {
	v := made(t, markers...)
	points := func(_ int, s string) string { return strings.ReplaceAll(s, "-", ".") }
	for _, c := range []struct {
		what  string
		names []string
		n     int
		line  string
	}{
		{"R's make.names", each(points), 7, `adata.var_names.str.replace(".", "-", regex=False)`},
		{"R's make.names, and an id with a version", append(each(points), "ENSG00000167286.9"), 7, `adata.var_names.where(adata.var_names.isin(model.genes), adata.var_names.str.replace(".", "-", regex=False))`},
		{"small letters of half", each(func(i int, s string) string {
			if i%2 > 0 {
				return strings.ToLower(s)
			}
			return s
		}), 16, `adata.var_names.where(adata.var_names.isin(model.genes), adata.var_names.str.upper())`},
		{"capital ORF", each(func(_ int, s string) string { return strings.ToUpper(s) }), 2, `adata.var_names.str.replace(r"^(C(?:\d{1,2}|X|Y))ORF(\d+)$", r"\1orf\2", regex=True)`},
		{"dates", append(append([]string{}, markers[:31]...), "3-Mar", "2-Sep", "1-Dec", "1-Mar"), 3, `adata.var_names.str.replace(r"(?i)^0?(\d+)[-. ]+sep\.?$|^sep[-. ]+0?(\d+)$", r"SEPT\1\2", regex=True)`},
		{"dates, otherwise", append(append([]string{}, markers[:31]...), "Mar-03", "Sep-02", "Dec-01"), 3, `adata.var_names.str.replace(r"(?i)^0?(\d+)[-. ]+sep\.?$|^sep[-. ]+0?(\d+)$", r"SEPT\1\2", regex=True)`},
		{"dates of a German spreadsheet", append(append([]string{}, markers[:31]...), "03. Mrz", "02. Sep", "1. DEZ"), 3, `adata.var_names.str.replace(r"(?i)^0?(\d+)[-. ]+sep\.?$|^sep[-. ]+0?(\d+)$", r"SEPT\1\2", regex=True)`},
		{"hyphens of another kind", each(func(_ int, s string) string { return strings.ReplaceAll(s, "-", "\u2011") }), 7, `adata.var_names.str.replace("\u2011", "-", regex=False)`},
		{"slashes for hyphens", each(func(_ int, s string) string { return strings.ReplaceAll(s, "-", "/") }), 7, `adata.var_names.str.replace("/", "-", regex=False)`},
		{"hyphens of web addresses", each(func(_ int, s string) string { return strings.ReplaceAll(s, "-", "%2D") }), 7, `adata.var_names.str.replace("%2D", "-", regex=False)`},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := v.MatchBest([]Column{named(c.names...)})
			if len(m.Repairs) == 0 || m.Repairs[0].N != c.n || !strings.HasPrefix(m.Repairs[0].Line, "adata.var_names = "+c.line) {
				t.Fatalf("%+v", m.Repairs)
			}
			if err := m.Require(0.1); err != nil {
				t.Error(err)
			}
		})
	}
}

// What one repair leaves is told by the next, whose line follows upon that of the
// first.
func TestRepairsFollowEachOther(t *testing.T) {
	v := made(t, markers...)
	for what, c := range map[string]struct {
		names []string
		lines []string
	}{
		"prefix and points": {
			each(func(_ int, s string) string { return "hg19_" + strings.ReplaceAll(s, "-", ".") }),
			[]string{`.str.removeprefix("hg19_")`, `.str.replace(".", "-", regex=False)`},
		},
		"prefix, points, id and blank": {
			each(func(i int, s string) string { // the ids are not known
				return fmt.Sprintf("hg19_%s_ENSG%011d ", strings.ReplaceAll(s, "-", "."), 90_000_000_000+i)
			}),
			[]string{`.str.replace(r"[^A-Za-z0-9]+ENSG\d{11}.*$", "", regex=True).str.removeprefix("hg19_")`, `.str.replace(".", "-", regex=False)`},
		},
		"small letters": {
			each(func(_ int, s string) string { return strings.ToLower(s) }),
			[]string{`.str.upper()`, `.str.replace(r"^(C(?:\d{1,2}|X|Y))ORF(\d+)$", r"\1orf\2", regex=True)`},
		},
	} {
		t.Run(what, func(t *testing.T) {
			m := v.MatchBest([]Column{named(c.names...)})
			for i := range c.lines {
				c.lines[i] = "adata.var_names = adata.var_names" + c.lines[i]
			}
			if m.nRepaired() != len(markers) || len(m.Repairs) != len(c.lines) {
				t.Fatalf("%+v", m.Repairs)
			}
			if err := m.Require(0.1); !strings.Contains(fmt.Sprint(err), "rename them: "+strings.Join(c.lines, "; ")) {
				t.Error(err)
			}
			if first := m.Repairs[1].Examples[0].Given; !slices.Contains(c.names, first) {
				t.Errorf("%q is no name of the data set", first)
			}
		})
	}
}

func TestNoRepairIsMadeUp(t *testing.T) {
	v := made(t, markers...)
	for what, names := range map[string][]string{
		"names that were made unique":      append(around("", ""), "CD4-1", "CD8A-1", "CD14.1"),
		"genes with a gene's name in them": {"CD3D", "LYZ", "A1BG-AS1", "CD4-AS1", "CD8B2", "HLA-F-AS1", "LYZL4", "TP53-AS1", "IL7R-DT"},
		"antibodies":                       {"CD4_TotalSeqB", "CD14_TotalSeqB", "CD19_TotalSeqB", "CD8A_TotalSeqB", "ADT-CD4", "CD3D_prot", "LYZ"},
		"nothing":                          nil,
	} {
		t.Run(what, func(t *testing.T) {
			if m := v.MatchBest([]Column{named(names...)}); len(m.Repairs) > 0 {
				t.Errorf("%+v", m.Repairs)
			}
		})
	}
}

func TestCloseNamesAreToldAndNotTaken(t *testing.T) {
	v := made(t, markers...)
	m := v.MatchBest([]Column{named("cD3d", "Hla.Dra", "LYZ", "XIST")})
	if m.NMatched != 1 || len(m.Repairs) != 1 || m.Repairs[0].N != 2 || m.Repairs[0].Line != "" {
		t.Fatalf("%+v", m)
	}
	if want := (Suggestion{"Hla.Dra", "HLA-DRA"}); m.Repairs[0].Examples[1] != want {
		t.Errorf("%+v", m.Repairs[0])
	}
}

func TestCellsOfTwoSpecies(t *testing.T) {
	v := made(t, markers...)
	names := append(around("GRCh38_", ""), each(func(_ int, s string) string { return "mm10___" + s[:1] + strings.ToLower(s[1:]) })...)
	m := v.MatchBest([]Column{named(names...)})
	want := `adata = adata[:, adata.var_names.str.startswith("GRCh38_")].copy(); adata.var_names = adata.var_names.str.removeprefix("GRCh38_")`
	if len(m.Repairs) == 0 || m.Repairs[0].Line != want || !strings.Contains(m.Repairs[0].What, `the prefix "mm10___" of another genome`) {
		t.Errorf("%+v", m.Repairs)
	}
}

func TestRepairOfAColumn(t *testing.T) {
	v := made(t, markers...)
	column := Column{Name: "var['symbol']", Genes: around("GRCh38_", ""), Target: `adata.var["symbol"]`}
	rows := Column{Name: "var_names", Genes: each(func(i int, _ string) string { return fmt.Sprint(i) }), Target: "adata.var_names"}
	m := v.MatchBest([]Column{rows, column})
	if m.Column != column.Name || m.Repairs[0].Line != `adata.var["symbol"] = adata.var["symbol"].str.removeprefix("GRCh38_")` {
		t.Errorf("%s: %+v", m.Column, m.Repairs)
	}
	column.Genes = append(each(func(_ int, s string) string { return strings.ReplaceAll(s, "-", ".") }), "ENSG00000167286.9")
	want := `adata.var["symbol"] = adata.var["symbol"].astype(str).where(adata.var["symbol"].astype(str).isin(model.genes), adata.var["symbol"].astype(str).str.replace(".", "-", regex=False))`
	if m = v.MatchBest([]Column{column}); m.Repairs[0].Line != want {
		t.Errorf("%+v", m.Repairs)
	}
}

package vocabulary

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRequire(t *testing.T) {
	v := made(t, genes...)
	for _, c := range []struct {
		name    string
		symbols []string
		minimum float64
		says    []string // nil: no error
	}{
		{"enough", []string{"LYZ", "NKG7", "XIST"}, 0.5, nil},
		{"exactly enough", []string{"LYZ", "XIST"}, 0.5, nil},
		{"a panel of few genes", []string{"LYZ"}, 0.9, nil},
		{"most of the model's genes among much else", append(slices.Clone(genes[1:]), make([]string, 1000)...), 0.8, nil},
		{"too few of both", []string{"LYZ", "XIST", "TSIX"}, 0.5, []string{
			"1 of 3 genes (33.3 %) is known to the model; it is 20.0 %", "20.0 % of the model's 5 genes", "at least 50.0 % (min_coverage=0.5)", `"XIST", "TSIX"`, `"CD3D"`,
		}},
		{"none, though none is asked for", []string{"XIST"}, 0, []string{"0 of 1 gene (0.0 %)", "human genes that the model does not have"}},
		{"no genes", nil, 0, []string{"0 of 0 genes", "for example, nothing"}},
		{"no names", []string{"", "", "XIST"}, 0.1, []string{"2 of 3 genes have no name", "gene_column"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, v.MatchBest([]Column{named(c.symbols...)}), c.minimum, c.says)
		})
	}
}

func refused(t *testing.T, m *Match, minimum float64, says []string) {
	t.Helper()
	err := m.Require(minimum)
	if says == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, ErrCoverage) {
		t.Fatalf("got %v", err)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// TestWhatDominates has a true gene or two among names of one kind.
func TestWhatDominates(t *testing.T) {
	var symbols []string
	for _, g := range hgnc().genes[:2000] {
		symbols = append(symbols, g.symbol)
	}
	v := made(t, symbols...)
	for _, c := range []struct {
		what string
		make func(i int) string
		says string
	}{
		{"peaks", func(i int) string { return fmt.Sprintf("chr1:%d-%d", 1000*i, 1000*i+500) }, "are peaks: embed only the gene expression"},
		{"peaks with hyphens", func(i int) string { return fmt.Sprintf("chrX-%d-%d", i, i+500) }, "are peaks"},
		{"peaks with underscores", func(i int) string { return fmt.Sprintf("GL000194.1_%d_%d", i, i+500) }, "are peaks"},
		{"mouse ids", func(i int) string { return fmt.Sprintf("ENSMUSG%011d", i) }, "are Ensembl ids of mouse genes"},
		{"ids of zebrafish", func(i int) string { return fmt.Sprintf("ENSDARG%011d", i) }, "are Ensembl ids of another species"},
		{"transcripts", func(i int) string { return fmt.Sprintf("ENST%011d.2", i) }, "are Ensembl ids of transcripts or proteins"},
		{"RefSeq", func(i int) string { return fmt.Sprintf("NM_%06d.3", i) }, "are RefSeq accessions"},
		{"UniProt", func(i int) string { return fmt.Sprintf("P%05d", 10000+i) }, "are UniProt accessions"},
		{"numbers", func(i int) string { return fmt.Sprint(i) }, "are numbers, such as NCBI's (Entrez) gene ids"},
		{"floats", func(i int) string { return fmt.Sprintf("%d.0", i) }, "are numbers"},
		{"spike-ins", func(i int) string { return fmt.Sprintf("ERCC-%05d", i) }, "are spike-ins"},
		{"antibodies", func(i int) string { return fmt.Sprintf("CD%d_TotalSeqC", i) }, "are antibodies or hashtags"},
		{"hashtags", func(i int) string { return fmt.Sprintf("Hashtag%d", i) }, "are antibodies or hashtags"},
		{"mouse symbols", func(i int) string { return fmt.Sprintf("Gm%d", i) }, "look like mouse or rat symbols"},
		{"dates", func(i int) string { return fmt.Sprintf("%d-Mar", 20+i%9) }, "turned into dates"},
		{"fly", func(i int) string { return fmt.Sprintf("FBgn%07d", i) }, "are genes of another species"},
		{"probes", func(i int) string { return fmt.Sprintf("%d_s_at", i) }, "are probes of a microarray"},
		{"dates of another language", func(i int) string { return fmt.Sprintf("%02d. Mrz", 20+i%9) }, "turned into dates"},
		{"dates without a joint", func(i int) string { return fmt.Sprintf("MAR%d", 20+i%9) }, "turned into dates"},
		{"clones", func(i int) string { return fmt.Sprintf("RP11-%dP13.%d", 900000+i, i%9) }, "are names of clones"},
		{"clones of GenBank", func(i int) string { return fmt.Sprintf("AC%06d.1", 990000+i) }, "are names of clones"},
		{"clones without version", func(i int) string { return fmt.Sprintf("AL%06d", 990000+i) }, "are names of clones"},
		{"LOC", func(i int) string { return fmt.Sprintf("LOC%d", i) }, "are NCBI's names for genes"},
		{"HGNC", func(i int) string { return fmt.Sprintf("HGNC:%d", i) }, "are HGNC ids"},
		{"other human genes", func(i int) string { return hgnc().genes[2000+i].symbol }, "are human genes that the model does not have"},
		{"human ids", func(i int) string { return fmt.Sprintf("ENSG%011d", 90000000000+i) }, "are human genes that the model does not have"},
	} {
		t.Run(c.what, func(t *testing.T) {
			names := []string{"A1BG", "", symbols[1]}
			for i := range 300 {
				names = append(names, c.make(i))
			}
			m := v.MatchBest([]Column{named(names...)})
			m.Totals = make([]float64, len(names))
			m.Totals[0], m.Totals[7] = 1, 3
			refused(t, m, 0.1, []string{"2 of 303 genes", "of the 300 unknown names, such as", c.says, "account for 25.0 % of the values"})
			for _, name := range m.Missing {
				if v.Token(name) != Unknown {
					t.Errorf("%s is known", name)
				}
			}
		})
	}
}

// TestMultiome: the genes of a whole transcriptome among many times as many peaks.
func TestMultiome(t *testing.T) {
	v := made(t, markers...)
	names := slices.Clone(markers)
	for i := range 20 * len(markers) {
		names = append(names, fmt.Sprintf("chr2:%d-%d", i, i+100))
	}
	m := v.MatchBest([]Column{named(names...)})
	if m.Coverage() > 0.1 || m.CoverageOfModel() != 1 {
		t.Fatalf("%v, %v", m.Coverage(), m.CoverageOfModel())
	}
	if err := m.Require(0.1); err != nil {
		t.Error(err)
	}
}

func TestMouseSymbolsAreRefused(t *testing.T) {
	v := made(t, markers...)
	names := each(func(_ int, s string) string { return s[:1] + strings.ToLower(s[1:]) })
	m := v.MatchBest([]Column{named(names...)})
	refused(t, m, 0.1, []string{`"Cd3d"`, "look like mouse or rat symbols: the model knows human genes, so map them to human orthologues first, with se600m.map_orthologues"})
}

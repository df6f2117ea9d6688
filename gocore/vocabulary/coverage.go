package vocabulary

import (
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/internal/words"
)

// Coverage is the share of the data set's genes that have a token.
func (m *Match) Coverage() float64 { return share(m.NMatched, len(m.Tokens)) }

// CoverageOfModel is the share of the vocabulary that the data set has.
func (m *Match) CoverageOfModel() float64 { return share(m.nDistinct, m.vocabulary.NGenes()) }

// CoverageOfValues is the share of the summed values that genes with a token
// carry; false without totals.
func (m *Match) CoverageOfValues() (float64, bool) {
	if len(m.Totals) != len(m.Tokens) {
		return 0, false
	}
	var known, all float64
	for i, total := range m.Totals {
		all += total
		if m.Tokens[i] != Unknown {
			known += total
		}
	}
	if all <= 0 {
		return 0, false
	}
	return known / all, true
}

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// Require fails if nothing was matched, or if neither the share of the data
// set's genes that the model knows nor the share of the model's genes that the
// data set has reaches a minimum between 0 and 1. The first is high for panels,
// which have few of the model's genes, the second for data sets with much else in
// their columns; it takes both to be low for the names to be of another kind. The
// error wraps [ErrCoverage], shows what was looked for and what the model knows,
// and names the likeliest reason.
func (m *Match) Require(minimum float64) error {
	if m.NMatched > 0 && max(m.Coverage(), m.CoverageOfModel()) >= minimum {
		return nil
	}
	n := min(nExamples, m.vocabulary.NGenes())
	values := ""
	if share, known := m.CoverageOfValues(); known && m.NMatched > 0 {
		values = fmt.Sprintf(", and %s for %.1f %% of the values", words.Agreeing(m.NMatched, "accounts", "account"), 100*share)
	}
	why, examples := m.reason()
	places := make([]string, len(m.looked))
	for i, l := range m.looked {
		places[i] = fmt.Sprintf("%s (%s)", l.name, words.Thousands(l.nMatched))
	}
	return fmt.Errorf("vocabulary: %s of %s (%.1f %%) %s known to the model; %s %.1f %% of the model's %s%s. "+
		"One of these two shares must be at least %.1f %% (min_coverage=%v). Searched in %s; unknown names are, for example, %s%s. "+
		"The model's genes are named like %s: %w",
		words.Thousands(m.NMatched), words.Many(len(m.Tokens), "gene"), 100*m.Coverage(), words.Agreeing(m.NMatched, "is", "are"),
		words.Agreeing(m.NMatched, "it is", "they are"), 100*m.CoverageOfModel(), words.Many(m.vocabulary.NGenes(), "gene"), values,
		100*minimum, minimum, strings.Join(places, ", "), quoted(examples), why, quoted(m.vocabulary.genes[:n]), ErrCoverage)
}

// reason looks for the reasons why genes are not found, and gives names that
// show them.
func (m *Match) reason() (why string, examples []string) {
	examples = m.Missing
	if 2*m.NUnnamed > len(m.Tokens) {
		return fmt.Sprintf("; %s of %s %s no name there: choose the column of var with the gene symbols (gene_column=...)",
			words.Thousands(m.NUnnamed), words.Many(len(m.Tokens), "gene"), words.Agreeing(m.NUnnamed, "has", "have")), examples
	}
	if why = m.repairs(); why != "" {
		return why, examples
	}
	if why, like := m.kind(true); why != "" {
		return "; " + why, like
	}
	return m.closeNames(), examples
}

// kind tells what most of the unknown names are, with the way out if that is
// wanted, and gives names that show it.
func (m *Match) kind(way bool) (said string, examples []string) {
	k, found := dominant(m.missing)
	if !found {
		return "", nil
	}
	var like []string
	for _, name := range m.missing {
		if k.is(name) {
			like = append(like, name)
		}
	}
	if said = fmt.Sprintf("names such as %q %s", like[0], k.are); len(like) > 1 {
		said = fmt.Sprintf("%s of the %s unknown names, such as %q, %s",
			words.Thousands(len(like)), words.Thousands(len(m.missing)), like[0], k.are)
	}
	if way && k.way != "" {
		said += ": " + k.way
	}
	return said, everyFew(like, nExamples)
}

// repairs tells of what many names have in common, and what is left of it for
// others once that is repaired.
func (m *Match) repairs() string {
	var said, lines []string
	most := 0
	for _, r := range m.Repairs {
		many := 20*r.N >= len(m.missing) || 20*r.N >= m.vocabulary.NGenes()
		if r.Line == "" || !many && (most == 0 || 200*r.N < most) {
			continue
		}
		most = max(most, r.N)
		who := words.Many(r.N, "name")
		if len(said) > 0 {
			who = words.Thousands(r.N)
		}
		first := r.Examples[0]
		said = append(said, fmt.Sprintf("%s %s %s, such as %q for %q", who, words.Agreeing(r.N, "has", "have"), r.What, first.Given, first.Known))
		lines = append(lines, r.Line)
	}
	if len(said) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s. If they are the same genes, rename them: %s", strings.Join(said, "; "), strings.Join(lines, "; "))
}

// closeNames tells of names that are a model's but for case and punctuation.
func (m *Match) closeNames() string {
	for _, r := range m.Repairs {
		if r.Line == "" && 10*r.N > len(m.Tokens) {
			first := r.Examples[0]
			return fmt.Sprintf("; %s %s %s, such as %q for %q: %s", words.Many(r.N, "name"), words.Agreeing(r.N, "has", "have"),
				r.What, first.Given, first.Known, words.Agreeing(r.N, "rename it if it is a human gene", "rename them if they are human genes"))
		}
	}
	return ""
}

func quoted(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(parts, ", ")
}

package vocabulary

import (
	"fmt"
	"strconv"
	"strings"
)

// Coverage is the share of the data set's genes that have a token.
func (m *Match) Coverage() float64 { return share(m.NMatched, len(m.Tokens)) }

// CoverageOfModel is the share of the vocabulary that the data set has.
func (m *Match) CoverageOfModel() float64 { return share(m.nDistinct, m.vocabulary.NGenes()) }

// CoverageOfCounts is the share of the summed values that genes with a token
// carry; false without totals.
func (m *Match) CoverageOfCounts() (float64, bool) {
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
	counts := ""
	if share, known := m.CoverageOfCounts(); known {
		counts = fmt.Sprintf(", and account for %.1f %% of the counts", 100*share)
	}
	why, examples := m.reason()
	places := make([]string, len(m.looked))
	for i, l := range m.looked {
		places[i] = fmt.Sprintf("%s (%s)", l.name, thousands(l.nMatched))
	}
	return fmt.Errorf("vocabulary: %s of %s genes (%.1f %%) are known to the model; they are %.1f %% of the model's %s genes%s. "+
		"One of these two shares must be at least %.1f %% (min_coverage=%v). Searched in %s; unknown names are, for example, %s%s. "+
		"The model's genes are named like %s: %w",
		thousands(m.NMatched), thousands(len(m.Tokens)), 100*m.Coverage(), 100*m.CoverageOfModel(), thousands(m.vocabulary.NGenes()),
		counts, 100*minimum, minimum, strings.Join(places, ", "), quoted(examples), why, quoted(m.vocabulary.genes[:n]), ErrCoverage)
}

// reason looks for the reasons why genes are not found, and gives names that
// show them.
func (m *Match) reason() (why string, examples []string) {
	examples = m.Missing
	if 2*m.NUnnamed > len(m.Tokens) {
		return fmt.Sprintf("; %s of %s genes have no name there: choose the column of var with the gene symbols (gene_column=...)",
			thousands(m.NUnnamed), thousands(len(m.Tokens))), examples
	}
	if why = m.repairs(); why != "" {
		return why, examples
	}
	k, found := dominant(m.missing)
	if !found {
		return m.closeNames(), examples
	}
	var like []string
	for _, name := range m.missing {
		if k.is(name) {
			like = append(like, name)
		}
	}
	examples = everyFew(like, nExamples)
	way := ""
	if k.way != "" {
		way = ": " + k.way
	}
	return fmt.Sprintf("; %s of the %s unknown names, such as %q, %s%s",
		thousands(len(like)), thousands(len(m.missing)), like[0], k.are, way), examples
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
		names := " names"
		if len(said) > 0 {
			names = ""
		}
		first := r.Examples[0]
		said = append(said, fmt.Sprintf("%s%s have %s, such as %q for %q", thousands(r.N), names, r.What, first.Given, first.Known))
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
			return fmt.Sprintf("; %s names have %s, such as %q for %q: rename them if they are human genes",
				thousands(r.N), r.What, first.Given, first.Known)
		}
	}
	return ""
}

// thousands writes a number with commas.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
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

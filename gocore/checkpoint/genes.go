package checkpoint

import "fmt"

// GeneTable is the gene embeddings that a model looks up, [n genes, Dim], in
// the vocabulary's order.
type GeneTable struct {
	Names []string
	Dim   int
	rows  []*Tensor
}

// newGeneTable reads an ordered dict, gene symbol → tensor [Dim].
func newGeneTable(v any, source string) (*GeneTable, error) {
	fail := func(format string, args ...any) (*GeneTable, error) {
		return nil, fmt.Errorf("gene table %s: "+format+": %w", append(append([]any{source}, args...), ErrGeneTable)...)
	}
	d, is := v.(*Dict)
	if !is || len(d.Pairs) == 0 {
		return fail("not a dict of gene symbols and tensors")
	}
	g := &GeneTable{}
	seen := make(map[string]bool, len(d.Pairs))
	for _, p := range d.Pairs {
		name, isName := p.Key.(string)
		row, isTensor := p.Value.(*Tensor)
		switch {
		case !isName || name == "":
			return fail("%s is not a gene symbol", describe(p.Key))
		case !isTensor:
			return fail("%q has no tensor", name)
		case seen[name]:
			return fail("%q occurs twice", name)
		}
		seen[name] = true
		if g.Dim == 0 {
			g.Dim = row.NumElements()
		}
		if row.NumElements() != g.Dim || g.Dim == 0 {
			return fail("%q has %d values, but %q has %d", name, row.NumElements(), d.Pairs[0].Key, g.Dim)
		}
		named := *row
		named.Name = name
		g.Names, g.rows = append(g.Names, name), append(g.rows, &named)
	}
	return g, nil
}

// Len is the number of genes.
func (g *GeneTable) Len() int { return len(g.Names) }

// ReadRows reads rows first … first+n-1 into dst, [n, Dim].
func (g *GeneTable) ReadRows(dst []float32, first, n int) error {
	if first < 0 || n < 0 || first+n > g.Len() || len(dst) != n*g.Dim {
		return fmt.Errorf("gene table: rows %d to %d of %d into %d values: %w", first, first+n, g.Len(), len(dst), ErrGeneTable)
	}
	for i, row := range g.rows[first : first+n] {
		if err := row.ReadFloat32(dst[i*g.Dim:(i+1)*g.Dim], 0); err != nil {
			return err
		}
	}
	return nil
}

package embed

import "testing"

func TestBlockSides(t *testing.T) {
	const (
		fullWidth = 4107 // SE-600M's decoder
		nodeFLOP  = 2e10
	)
	for _, c := range []struct{ nCells, nGenes, width int }{
		{1, 1, fullWidth},
		{1, 19790, fullWidth},
		{100000, 1, fullWidth},
		{100000, 19790, fullWidth},
		{3, 5, 40},
		{100000, 19790, 40},
		{7, 19790, 1 << 17}, // wider than any: a pair alone is over the bound
	} {
		cells, genes := blockSides(c.nCells, c.nGenes, c.width, nodeFLOP)
		if cells < 1 || genes < 1 || cells > c.nCells || genes > c.nGenes {
			t.Errorf("%+v: blocks of %d × %d", c, cells, genes)
		}
		flop := 4 * float64(c.width) * float64(c.width) * float64(cells*genes)
		if cells*genes > 1 && flop > nodeFLOP || cells*genes > maxPairs {
			t.Errorf("%+v: blocks of %d × %d are %.3g operations", c, cells, genes, flop)
		}
		// Nearly as many pairs as there may be, where there are as many.
		if most := min(c.nCells*c.nGenes, maxPairs, int(nodeFLOP/(4*float64(c.width*c.width)))); cells*genes < most*3/4 {
			t.Errorf("%+v: blocks of %d × %d, %d pairs would do", c, cells, genes, most)
		}
	}
	if cells, genes := blockSides(100000, 19790, fullWidth, nodeFLOP); cells < genes/2 || genes < cells/2 {
		t.Errorf("blocks of %d × %d: what is computed once a gene or a cell costs least in squares", cells, genes)
	}
}

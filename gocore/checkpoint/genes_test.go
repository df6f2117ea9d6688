package checkpoint

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

func tableOf(t *testing.T, value any) (*GeneTable, error) {
	t.Helper()
	file := statetest.Torch(value)
	v, err := readTorch(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return newGeneTable(v, "protein_embeddings.pt")
}

func TestGeneTable(t *testing.T) {
	// Rows of one tensor, as torch saves what was cut from a table.
	whole := statetest.Float32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	g, err := tableOf(t, statetest.DictOf(
		"LYZ", statetest.View{Of: &whole, Offset: 4, Shape: []int{2}, Strides: []int{1}},
		"CD3D", statetest.View{Of: &whole, Offset: 0, Shape: []int{2}, Strides: []int{1}},
		"NKG7", statetest.Float32([]float32{7, 8}, 1, 2),
	))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"LYZ", "CD3D", "NKG7"}; !slices.Equal(g.Names, want) || g.Dim != 2 || g.Len() != 3 {
		t.Errorf("%q, %d wide; want %q, 2", g.Names, g.Dim, want)
	}
	rows := make([]float32, 4)
	if err := g.ReadRows(rows, 1, 2); err != nil || !slices.Equal(rows, []float32{1, 2, 7, 8}) {
		t.Errorf("%v, %v", rows, err)
	}
	for _, c := range []struct{ length, first, n int }{{4, 2, 2}, {4, -1, 2}, {3, 0, 2}, {0, 0, -1}} {
		if err := g.ReadRows(make([]float32, c.length), c.first, c.n); !errors.Is(err, ErrGeneTable) {
			t.Errorf("%d rows from %d into %d values: got %v", c.n, c.first, c.length, err)
		}
	}
}

func TestRefusedGeneTables(t *testing.T) {
	two, three := statetest.Float32([]float32{1, 2}, 2), statetest.Float32([]float32{1, 2, 3}, 3)
	var nested any = statetest.Tuple{}
	for range 100 {
		nested = statetest.Tuple{nested}
	}
	for _, c := range []struct {
		name  string
		value any
		says  string
	}{
		{"a tensor", two, "not a dict"},
		{"empty", statetest.DictOf(), "not a dict of gene symbols"},
		{"numbers for symbols", statetest.DictOf(7, two), "7 is not a gene symbol"},
		{"containers for symbols", statetest.DictOf(nested, two), "a checkpoint.Tuple is not a gene symbol"},
		{"no symbol", statetest.DictOf("", two), `"" is not a gene symbol`},
		{"no tensor", statetest.DictOf("LYZ", 1.5), `"LYZ" has no tensor`},
		{"a gene twice", statetest.DictOf("LYZ", two, "LYZ", two), `"LYZ" occurs twice`},
		{"another width", statetest.DictOf("LYZ", two, "CD3D", three), `"CD3D" has 3 values, but "LYZ" has 2`},
		{"no width", statetest.DictOf("LYZ", statetest.Float32(nil, 0)), "0 values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tableOf(t, c.value)
			if !errors.Is(err, ErrGeneTable) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "protein_embeddings.pt") {
				t.Errorf("got %v; want one saying %q", err, c.says)
			}
		})
	}
}

package sentence_test

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// A panel of four genes that the model knows and one that it does not. The
// [CLS] slot carries the value of the fourth known gene, GNLY; NKG7, which the
// cell does not express, stands for the four slots that are left.
func ExamplePlan() {
	model, err := vocabulary.New([]string{"CD3D", "MS4A1", "NKG7", "LYZ", "GNLY"})
	if err != nil {
		panic(err)
	}
	genes := model.Match(vocabulary.Column{Name: "var_names", Genes: []string{"LYZ", "MALAT1", "CD3D", "NKG7", "GNLY"}})
	plan, err := sentence.NewPlan(genes.Tokens, sentence.Options{PadLength: 8, CLSPosition: 3, CLS: model.CLS()})
	if err != nil {
		panic(err)
	}
	log1p := []float32{3, 9, 1, 0, 4}
	matrix, err := expression.NewDense(1, 5, 5, 1, log1p)
	if err != nil {
		panic(err)
	}
	row, err := expression.NewReader(matrix).Read(0)
	if err != nil {
		panic(err)
	}
	out := sentence.Sentence{
		GeneIndices:      make([]int32, plan.MaxLength()),
		ExpressionValues: make([]float32, plan.MaxLength()),
		Multiplicity:     make([]float32, plan.MaxLength()),
	}
	cell := plan.NewWorker().Tokenize(row, 0, out)
	fmt.Println(plan.Fill(), cell.Length, cell.NExpressed)
	fmt.Println(out.GeneIndices)
	fmt.Println(out.ExpressionValues)
	fmt.Println(out.Multiplicity)
	// Output:
	// expected 5 3
	// [5 4 3 0 2]
	// [50 50 37.5 12.5 0]
	// [1 1 1 1 4]
}

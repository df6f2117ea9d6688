package neighbors_test

import (
	"context"
	"fmt"

	"github.com/se600m/se600m-go/gocore/neighbors"
)

// Three labelled cells, and one without a label.
var (
	reference = neighbors.Rows{N: 3, Width: 2, Values: []float32{
		1, 0,
		0, 1,
		0.5, 0,
	}}
	query = neighbors.Rows{N: 1, Width: 2, Values: []float32{3, 4}}
)

func ExampleNearest() {
	indices, distances := make([]int64, 3), make([]float64, 3)
	err := neighbors.Nearest(context.Background(), query, reference, neighbors.Options{K: 3}, indices, distances)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v %.2f\n", indices, distances)
	// Output: [1 0 2] [0.20 0.40 0.40]
}

func ExampleTransfer() {
	types := []string{"B cell", "T cell"}
	winners, confidence := make([]int32, 1), make([]float32, 1)
	err := neighbors.Transfer(context.Background(), query, reference,
		neighbors.Labels{Of: []int32{0, 1, 0}, N: len(types)}, neighbors.Uniform,
		neighbors.Options{K: 3}, winners, confidence)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, %.2f\n", types[winners[0]], confidence[0])
	// Output: B cell, 0.67
}

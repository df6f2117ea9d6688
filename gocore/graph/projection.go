package graph

import (
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// The input and the output of a projection, [n, token_dim] and [n, emsize].
const (
	ProjectionInput  = "rows"
	ProjectionOutput = "projected"
)

// FoldedProjection is what every cell's tokens have in common: the graph from
// rows of the gene table to tokens or, under the scale encoding, to their
// products with the weights alone.
func FoldedProjection(config *modeldir.Config, weights modeldir.Weights) ([]byte, error) {
	return projection(config, weights, func(g *builder, product onnx.Value) onnx.Value {
		if g.ExpressionEncoding == modeldir.Scale {
			return product
		}
		return g.tokenFromProduct(product)
	})
}

// GeneProjection is the graph from rows of the gene table to gene embeddings.
func GeneProjection(config *modeldir.Config, weights modeldir.Weights) ([]byte, error) {
	return projection(config, weights, (*builder).projectionFromProduct)
}

func projection(config *modeldir.Config, weights modeldir.Weights, finish func(*builder, onnx.Value) onnx.Value) ([]byte, error) {
	g := newBuilder("projection", config, weights, modeldir.Form{Layers: modeldir.Float32})
	rows := g.Input(ProjectionInput, onnx.Float32, "n", config.Dimensions.TokenDim)
	g.Output(finish(g, g.matMul(rows, "encoder.0.weight")), ProjectionOutput, onnx.Float32, "n", config.Dimensions.EmSize)
	return g.model()
}

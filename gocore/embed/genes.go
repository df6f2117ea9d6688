package embed

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// checkGenes makes sure that gene tokens are in the vocabulary.
func (m *Model) checkGenes(tokens []int32) error {
	for i, token := range tokens {
		if token < 0 || token >= m.Vocabulary.CLS() {
			return fmt.Errorf("embed: gene %d: token %d is not in the vocabulary (0 to %d): %w", i, token, m.Vocabulary.CLS()-1, ErrOption)
		}
	}
	return nil
}

// GeneEmbeddings writes the model's embeddings of genes, which don't depend on
// any cell: out is [len(tokens), emsize].
func (m *Model) GeneEmbeddings(ctx context.Context, tokens []int32, out []float32) error {
	if err := m.checkGenes(tokens); err != nil {
		return err
	}
	d := m.Config.Dimensions.EmSize
	if len(out) != len(tokens)*d {
		return fmt.Errorf("embed: memory for %d values, %d genes have %d: %w", len(out), len(tokens), len(tokens)*d, ErrOption)
	}
	file, _, err := modeldir.OpenFile(m.Dir, modeldir.GeneEmbeddingsFile)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	row := make([]byte, 4*d)
	for i, token := range tokens {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("embed: %w", err)
		}
		if _, err := file.ReadAt(row, int64(token)*int64(len(row))); err != nil {
			return fmt.Errorf("embed: %w: %w", err, modeldir.ErrNotAModel)
		}
		for k := range d {
			out[i*d+k] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*k:]))
		}
	}
	return nil
}

package pybind

import (
	"context"
	"fmt"
	"strings"

	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// matchRequest are the columns that may name a data set's genes, and memory for
// their tokens, -1 for genes that the model lacks.
type matchRequest struct {
	Columns []string `json:"columns"`
	// Names are the genes of one column after another, a line each (uint8): a
	// JSON string for each would take longer than finding it.
	Names array `json:"names"`
	// Minimum is the least coverage.
	Minimum float64 `json:"minimum"`
	Tokens  array   `json:"tokens"`
}

// MatchGenes finds a data set's genes in a model's vocabulary, by the column
// that has the most of them, and reports the coverage.
func MatchGenes(handle int64, requestJSON string) (report string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	var request matchRequest
	if err := fromJSON(requestJSON, &request); err != nil {
		return "", err
	}
	tokens, err := typed[int32](request.Tokens, "int32")
	if err != nil {
		return "", err
	}
	names, err := typed[uint8](request.Names, "uint8")
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(names), "\n")
	if len(request.Columns) == 0 || len(lines) != len(request.Columns)*len(tokens) {
		return "", fmt.Errorf("pybind: %d names for %d genes in %d columns: %w",
			len(lines), len(tokens), len(request.Columns), errMemory)
	}
	columns := make([]vocabulary.Column, len(request.Columns))
	for i, name := range request.Columns {
		columns[i] = vocabulary.Column{Name: name, Genes: lines[i*len(tokens) : (i+1)*len(tokens)]}
	}
	match := m.Vocabulary.MatchBest(columns)
	if err := match.Require(request.Minimum); err != nil {
		return "", err
	}
	copy(tokens, match.Tokens)
	return toJSON(map[string]any{
		"column": match.Column, "n_genes": len(match.Tokens), "n_matched": match.NMatched, "n_by_id": match.NByID,
		"n_repeated": match.NRepeated, "repeated": match.Repeated, "n_unnamed": match.NUnnamed,
		"n_close": match.NClose, "close": match.Close, "n_vocabulary": m.Vocabulary.NGenes(), "missing": match.Missing,
	})
}

// geneEmbeddingsRequest asks for the model's embeddings of genes.
type geneEmbeddingsRequest struct {
	Model  int64 `json:"model"`
	Genes  array `json:"genes"`  // their tokens
	Output array `json:"output"` // float32 [n genes, emsize]
}

func (r *geneEmbeddingsRequest) work() (work, error) {
	m, err := models.get(r.Model)
	if err != nil {
		return nil, err
	}
	genes, err := typed[int32](r.Genes, "int32")
	if err != nil {
		return nil, err
	}
	out, err := typed[float32](r.Output, "float32")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ *job) (any, error) {
		return nil, m.GeneEmbeddings(ctx, genes, out)
	}, nil
}

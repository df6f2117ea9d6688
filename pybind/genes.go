package pybind

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// matchRequest are the columns that may name a data set's genes, and memory for
// what becomes of them.
type matchRequest struct {
	Columns []string `json:"columns"`
	// Targets are the columns as Python assigns to them.
	Targets []string `json:"targets"`
	// Names are the genes of one column after another, a line each (uint8): a
	// JSON string for each would take longer than finding it.
	Names array `json:"names"`
	// Others are the names of what is no gene, in the same way; nil if there is
	// nothing else.
	Others *array `json:"others"`
	// Minimum is the least coverage.
	Minimum float64 `json:"minimum"`
	// Tokens takes the genes' tokens, -1 for genes that the model lacks.
	Tokens array `json:"tokens"`
	// RepairOf takes the number of the repair that would make a gene of the name,
	// -1 for none (int32).
	RepairOf *array `json:"repair_of"`
	// LeftOut takes 1 for genes whose token another one has, else 0 (uint8).
	LeftOut *array `json:"left_out"`
	// FirstOf takes the first gene of the same name but for a number (int32).
	FirstOf *array `json:"first_of"`
	// Totals are the summed values of the genes, if they are known (float64).
	Totals *array `json:"totals"`
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
	repairOf, err := optional[int32](request.RepairOf, "int32")
	if err != nil {
		return "", err
	}
	leftOut, err := optional[uint8](request.LeftOut, "uint8")
	if err != nil {
		return "", err
	}
	firstOf, err := optional[int32](request.FirstOf, "int32")
	if err != nil {
		return "", err
	}
	totals, err := optional[float64](request.Totals, "float64")
	if err != nil {
		return "", err
	}
	for _, n := range []int{len(repairOf), len(leftOut), len(firstOf), len(totals)} {
		if n != 0 && n != len(tokens) {
			return "", fmt.Errorf("pybind: memory for %d genes where there are %d: %w", n, len(tokens), errMemory)
		}
	}
	columns, err := request.columns(len(tokens))
	if err != nil {
		return "", err
	}
	match := m.Vocabulary.MatchBest(columns)
	match.Totals = totals
	if err := match.Require(request.Minimum); err != nil {
		return "", err
	}
	copy(tokens, match.Tokens)
	copy(repairOf, match.RepairOf)
	copy(leftOut, match.IsLeftOut)
	copy(firstOf, match.FirstOf)
	return toJSON(map[string]any{
		"column": match.Column, "index": match.Index, "n_genes": len(match.Tokens), "n_matched": match.NMatched, "n_by_id": match.NByID,
		"n_numbered": match.NNumbered, "kind": match.Kind,
		"n_renamed": match.NRenamed, "renamed": match.Renamed, "n_left_out": match.NLeftOut, "left_out": match.LeftOut,
		"n_ids_unknown": match.NIDsUnknown, "n_repeated": match.NRepeated, "repeated": match.Repeated,
		"n_unnamed": match.NUnnamed, "n_vocabulary": m.Vocabulary.NGenes(), "missing": match.Missing,
		"repairs": append([]vocabulary.Repair{}, match.Repairs...), "coverage": match.Coverage(), "coverage_of_model": match.CoverageOfModel(),
	})
}

// columns reads the names of genes that a request points to.
func (r *matchRequest) columns(nGenes int) ([]vocabulary.Column, error) {
	names, err := typed[uint8](r.Names, "uint8")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(names), "\n")
	if len(r.Columns) == 0 || len(lines) != len(r.Columns)*nGenes {
		return nil, fmt.Errorf("pybind: %d names for %d genes in %d columns: %w", len(lines), nGenes, len(r.Columns), errMemory)
	}
	if len(r.Targets) != len(r.Columns) {
		return nil, fmt.Errorf("pybind: %d targets for %d columns: %w", len(r.Targets), len(r.Columns), errMemory)
	}
	var others []string
	if r.Others != nil {
		text, err := typed[uint8](*r.Others, "uint8")
		if err != nil {
			return nil, err
		}
		others = strings.Split(string(text), "\n")
	}
	nOthers := len(others) / len(r.Columns)
	if nOthers*len(r.Columns) != len(others) {
		return nil, fmt.Errorf("pybind: %d other names in %d columns: %w", len(others), len(r.Columns), errMemory)
	}
	columns := make([]vocabulary.Column, len(r.Columns))
	for i, name := range r.Columns {
		columns[i] = vocabulary.Column{
			Name: name, Genes: lines[i*nGenes : (i+1)*nGenes], Others: others[i*nOthers : (i+1)*nOthers], Target: r.Targets[i],
		}
	}
	return columns, nil
}

// findRequest are genes that a caller asks for by name, a line each (uint8), and
// memory for their tokens.
type findRequest struct {
	Names  array `json:"names"`
	Tokens array `json:"tokens"`
}

// FindGenes finds genes in a model's vocabulary, each on its own, and tells what
// the first unknown one may be: its place, the kind of identifier that it is, the
// symbol of a human Ensembl id, the human genes that have such a name, and genes of
// the model that may be meant.
func FindGenes(handle int64, requestJSON string) (report string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	var request findRequest
	if err := fromJSON(requestJSON, &request); err != nil {
		return "", err
	}
	tokens, err := typed[int32](request.Tokens, "int32")
	if err != nil {
		return "", err
	}
	text, err := typed[uint8](request.Names, "uint8")
	if err != nil {
		return "", err
	}
	names := strings.Split(string(text), "\n")
	if len(names) != len(tokens) {
		return "", fmt.Errorf("pybind: %d names for %d genes: %w", len(names), len(tokens), errMemory)
	}
	for i, name := range names {
		tokens[i], _ = m.Vocabulary.Find(name)
	}
	first := slices.Index(tokens, vocabulary.Unknown)
	if first < 0 {
		return toJSON(map[string]any{"first_unknown": first})
	}
	return toJSON(map[string]any{
		"first_unknown": first, "genes": append([]string{}, vocabulary.NamesOf(names[first])...), "about": vocabulary.About(names[first]), "symbol": vocabulary.SymbolOf(names[first]),
		"suggestions": append([]string{}, m.Vocabulary.Suggestions(names[first])...),
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

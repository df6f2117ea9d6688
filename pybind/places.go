package pybind

import (
	"fmt"

	"github.com/se600m/se600m-go/gocore/embed"
)

// placesRequest asks for chosen genes of each cell, or for every slot of the
// sentences, with the tokens that stand there.
type placesRequest struct {
	Genes *array `json:"genes"` // their tokens

	Slots       *int   `json:"slots"`
	GeneIndices *array `json:"gene_indices"`
}

// check makes sure that one of the two is asked for.
func (r *placesRequest) check() error {
	chosen, slots := r.Genes != nil, r.Slots != nil && r.GeneIndices != nil
	if chosen == slots || chosen && (r.Slots != nil || r.GeneIndices != nil) {
		return fmt.Errorf(`give either "genes" or both "slots" and "gene_indices": %w`, errRequest)
	}
	return nil
}

// places are those of a request that was checked.
func (r *placesRequest) places() (p embed.Places, err error) {
	if p.Genes, err = optional[int32](r.Genes, "int32"); err != nil {
		return p, err
	}
	if p.GeneIndices, err = optional[int32](r.GeneIndices, "int32"); err != nil {
		return p, err
	}
	if r.Slots != nil {
		p.Slots = *r.Slots
	}
	return p, nil
}

package embed

import "fmt"

// Places says what is wanted of a cell's sentence, and in which order: chosen
// genes or, if none are chosen, every slot.
type Places struct {
	// Genes are the gene tokens wanted; nil: every slot of the sentence.
	Genes []int32
	// Slots is the number of slots if no genes are chosen, that of the plan's
	// longest sentence at least.
	Slots int
	// GeneIndices are the tokens in the slots, [n cells, Slots], -1 past a
	// sentence's end; empty if genes are chosen.
	GeneIndices []int32
}

// width is the number of places of a cell.
func (p Places) width() int {
	if p.Genes != nil {
		return len(p.Genes)
	}
	return p.Slots
}

// checkPlaces makes sure that there is memory for some values a place.
func (m *Model) checkPlaces(what string, p Places, nValues, perPlace, nCells, maxLength int) error {
	slots := p.Slots
	if p.Genes != nil {
		slots = 0
	} else if p.Slots < maxLength {
		return fmt.Errorf("embed: %d slots, sentences have up to %d: %w", p.Slots, maxLength, ErrOption)
	}
	if !holds(nValues, nCells, p.width(), perPlace) || !holds(len(p.GeneIndices), nCells, slots) {
		return fmt.Errorf("embed: %s: memory for %d values and %d gene indices, %d and %d are needed: %w",
			what, nValues, len(p.GeneIndices), nCells*p.width()*perPlace, nCells*slots, ErrOption)
	}
	return m.checkGenes(p.Genes)
}

package sentence

import (
	"errors"
	"fmt"

	"github.com/se600m/se600m-go/gocore/internal/words"
)

// Fill says how slots that expressed genes leave empty are filled, and how
// ties for the last slots are broken.
type Fill uint8

const (
	// Auto is [Expected] for panels (fewer valid genes than slots), else [Shared].
	Auto Fill = iota
	// Shared draws once for all cells: one random order of genes serves every
	// cell. For one cell it is the reference's draw; across cells the noise is
	// common and cancels.
	Shared
	// Independent draws anew for every cell, as the reference does.
	Independent
	// Expected takes every gene of a panel once, with the multiplicity that
	// the reference's draws have on average.
	Expected
	// None takes expressed genes only: shorter sentences, other numbers.
	None
)

var (
	// ErrFill: a fill policy is unknown or does not suit the data set.
	ErrFill = errors.New("invalid fill policy")
	// ErrTooFewGenes: there are not even enough genes for the [CLS] slot's value.
	ErrTooFewGenes = errors.New("too few valid genes")
)

var fillNames = [...]string{Auto: "auto", Shared: "shared", Independent: "independent", Expected: "expected", None: "none"}

// ParseFill reads the name of a policy.
func ParseFill(name string) (Fill, error) {
	for fill, known := range fillNames {
		if name == known {
			return Fill(fill), nil
		}
	}
	return 0, unknownFill(name)
}

func unknownFill(name string) error {
	return fmt.Errorf("fill=%q is not one of \"auto\", \"shared\", \"independent\", \"expected\", \"none\": %w",
		name, ErrFill)
}

func (f Fill) known() bool { return int(f) < len(fillNames) }

func (f Fill) String() string {
	if !f.known() {
		return fmt.Sprintf("Fill(%d)", uint8(f))
	}
	return fillNames[f]
}

// resolve picks the policy for a data set with nValid genes and nSlots slots.
func (f Fill) resolve(nValid, nSlots int) (Fill, error) {
	panel := nValid < nSlots
	switch {
	case !f.known():
		return 0, unknownFill(f.String())
	case f == Auto && panel:
		return Expected, nil
	case f == Auto:
		return Shared, nil
	case f == Expected && nValid > nSlots:
		return 0, fmt.Errorf("fill=\"expected\" puts every valid gene into the sentence, which has room for %s, but there are %s: "+
			"use fill=\"shared\": %w", words.Thousands(nSlots), words.Many(nValid, "valid gene"), ErrFill)
	}
	return f, nil
}

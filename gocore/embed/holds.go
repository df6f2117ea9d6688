package embed

import "slices"

// holds tells whether memory is for as many values as a tensor of some sizes has.
// The product of sizes that nobody checked could overflow: they are divided by.
func holds(nValues int, sizes ...int) bool {
	if slices.Min(sizes) <= 0 {
		return nValues == 0 && slices.Min(sizes) == 0
	}
	for _, n := range sizes {
		if nValues%n != 0 {
			return false
		}
		nValues /= n
	}
	return nValues == 1
}

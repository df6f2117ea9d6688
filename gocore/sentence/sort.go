package sentence

// item is something in an order to be: what stands at a place of the plan.
type item struct {
	key   uint32
	place int32
}

// sorter sorts items in memory that it reuses.
type sorter struct{ items, spare []item }

const (
	digitBits = 11
	digitMask = 1<<digitBits - 1
)

// sort orders the items by key, and leaves equal keys in the order they have:
// a radix sort from the lowest digit, which is linear in the number of items
// and passes over digits that are the same for all.
func (s *sorter) sort() {
	from := s.items
	if cap(s.spare) < len(from) {
		s.spare = make([]item, len(from), cap(from))
	}
	to := s.spare[:len(from)]
	var varying, used uint32
	for i := range from {
		varying |= from[i].key ^ from[0].key
		used |= from[i].key
	}
	var starts [1 << digitBits]int32
	for shift := 0; shift < 32; shift += digitBits {
		if varying>>shift&digitMask == 0 {
			continue
		}
		// Digits above the largest are not looked at: keys of counts are small.
		digits := starts[:used>>shift&digitMask+1]
		clear(digits)
		for i := range from {
			digits[from[i].key>>shift&digitMask]++
		}
		var at int32
		for digit, count := range digits {
			digits[digit] = at
			at += count
		}
		for i := range from {
			digit := from[i].key >> shift & digitMask
			to[digits[digit]] = from[i]
			digits[digit]++
		}
		from, to = to, from
	}
	s.items, s.spare = from, to
}

package sentence

const (
	digitBits = 11
	digitMask = 1<<digitBits - 1
)

// sort orders the candidates by key: a radix sort from the lowest digit, which
// is linear in their number and passes over digits that all keys share (most
// of them, for counts).
func (w *Worker) sort() {
	from := w.candidates
	if cap(w.spare) < len(from) {
		w.spare = make([]candidate, len(from), cap(from))
	}
	to := w.spare[:len(from)]
	var varying uint64
	for i := range from {
		varying |= from[i].key ^ from[0].key
	}
	var starts [1 << digitBits]int32
	for shift := 0; shift < 64; shift += digitBits {
		if varying>>shift&digitMask == 0 {
			continue
		}
		clear(starts[:])
		for i := range from {
			starts[from[i].key>>shift&digitMask]++
		}
		var at int32
		for digit, count := range starts {
			starts[digit] = at
			at += count
		}
		for i := range from {
			digit := from[i].key >> shift & digitMask
			to[starts[digit]] = from[i]
			starts[digit]++
		}
		from, to = to, from
	}
	w.candidates, w.spare = from, to
}

package sentence

import "math/bits"

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, 2014): a bijection that spreads every bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash2 is a random number that depends on nothing but its arguments.
func hash2(a, b uint64) uint64 { return mix(mix(a) ^ b) }

// stream is a sequence of draws that depends on its key alone.
type stream struct{ key, drawn uint64 }

// below draws uniformly from 0 … n-1.
func (s *stream) below(n int) int {
	high, _ := bits.Mul64(hash2(s.key, s.drawn), uint64(n))
	s.drawn++
	return int(high)
}

// shuffle32 maps 32-bit numbers one to one, in an order that depends on the
// key: xor, odd multiplications and shifted xors can each be undone, so two
// genes never meet (the constants are those of lowbias32, Wellons 2018).
func shuffle32(x, key uint32) uint32 {
	x ^= key
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x ^ x>>16
}

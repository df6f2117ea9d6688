// Package words writes numbers in messages, and words that agree with them.
package words

import "strconv"

// Thousands writes a number with commas: 32,786.
func Thousands[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// Many writes a number of things, from the noun for one: 1 gene, 32,786 genes.
func Many[N int | int64](n N, noun string) string {
	return Thousands(n) + " " + Agreeing(n, noun, noun+"s")
}

// Agreeing is the word for one thing or that for many.
func Agreeing[N int | int64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

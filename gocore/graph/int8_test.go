package graph

import (
	"slices"
	"testing"
)

func TestQuantise(t *testing.T) {
	whole, scales := quantise([]float32{
		127, 0, -254, // a column's largest becomes 127 or -127; halves go to the even number
		-63, 0, 1,
		0.5, 0, 3,
		1.5, 0, -127,
	}, 3)
	if want := []int8{127, 0, -127, -63, 0, 0, 0, 0, 2, 2, 0, -64}; !slices.Equal(whole, want) {
		t.Errorf("got %v, want %v", whole, want)
	}
	if want := []float32{1, 0, 2}; !slices.Equal(scales, want) {
		t.Errorf("got scales %v, want %v", scales, want)
	}
}

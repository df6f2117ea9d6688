package convert

import (
	"slices"
	"testing"
)

func TestQuantise(t *testing.T) {
	whole, scales := quantise([]float32{
		127, -63, 0.5, 1.5, // the largest becomes 127; halves go to the even number
		0, 0, 0, 0,
		-254, 1, 3, -127,
	}, 3, 4)
	if want := []int8{127, -63, 0, 2, 0, 0, 0, 0, -127, 0, 2, -64}; !slices.Equal(whole, want) {
		t.Errorf("got %v, want %v", whole, want)
	}
	if want := []float32{1, 0, 2}; !slices.Equal(scales, want) {
		t.Errorf("got scales %v, want %v", scales, want)
	}
}

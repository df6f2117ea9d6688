package words

import "testing"

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 142786: "142,786", 1234567: "1,234,567"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
}

func TestMany(t *testing.T) {
	for n, want := range map[int64]string{0: "0 genes are", 1: "1 gene is", 2048: "2,048 genes are"} {
		if got := Many(n, "gene") + " " + Agreeing(n, "is", "are"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

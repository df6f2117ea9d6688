package expression

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestEveryValueThatIsNotFiniteIsTold(t *testing.T) {
	nan, inf, large := math.NaN(), math.Inf(1), 1e300
	must := func(m Matrix, err error) Matrix {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	float32NaN, most := float32(nan), float32(math.MaxFloat32)
	for name, c := range map[string]struct {
		matrix Matrix
		want   []string
	}{
		"dense":        {must(NewDense(1, 6, 6, 1, []float64{nan, 1, -inf, 0, large, -large})), []string{"0 NaN", "2 -Inf", "4 1e+300", "5 -1e+300"}},
		"dense F":      {must(NewDense(1, 3, 1, 2, []float64{nan, 7, 2, 7, inf})), []string{"0 NaN", "2 +Inf"}},
		"csr":          {must(NewCSR(1, 9, []float32{1, float32NaN, 2}, []int32{8, 3, 5}, []int64{0, 3})), []string{"3 NaN"}},
		"none":         {must(NewCSR(1, 9, []float32{1, -4}, []int32{8, 3}, []int64{0, 2})), nil},
		"sum of parts": {must(NewCSR(1, 9, []float32{most, 1, most}, []int32{8, 3, 8}, []int64{0, 3})), []string{"8 +Inf"}},
		"whole":        {must(NewDense(1, 2, 2, 1, []int64{math.MaxInt64, math.MinInt64})), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			r := NewReader(c.matrix)
			err := r.NotFinite(0, func(gene int, value float64) { got = append(got, fmt.Sprint(gene, value)) })
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
			if _, err := r.Read(0); errors.Is(err, ErrNotFinite) != (c.want != nil) {
				t.Errorf("Read says %v of %v", err, c.want)
			}
		})
	}
	m := must(NewCSR(1, 3, []float64{nan, nan}, []int64{1, 3}, []int64{0, 2}))
	if err := NewReader(m).NotFinite(0, func(int, float64) {}); !errors.Is(err, ErrIndex) {
		t.Errorf("got %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	for value, want := range map[float64]bool{
		math.MaxFloat32: false, 1e39: true, -1e300: true, math.Inf(1): false, math.NaN(): false, 5: false,
	} {
		if TooLarge(value) != want {
			t.Errorf("TooLarge(%v) is %v", value, !want)
		}
	}
}

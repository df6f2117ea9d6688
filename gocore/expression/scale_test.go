package expression

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func repeat(value float32, n int) []float32 { return slices.Repeat([]float32{value}, n) }

// The reference's rule, spelled out: counts if max > 35, else counts if
// int(sum(expm1(x))) > 5,000,000.
func judgeByTheRule(values []float32) Scale {
	var largest, total float64
	for _, v := range values {
		largest = max(largest, float64(v))
		total += math.Expm1(float64(v))
	}
	if largest > 35 || math.Floor(total) > 5_000_000 {
		return Counts
	}
	return Log1p
}

func TestJudge(t *testing.T) {
	log5M := float32(math.Log1p(5_000_000))
	for name, c := range map[string]struct {
		values []float32
		want   Scale
	}{
		"nothing expressed":                {nil, Log1p},
		"at the first threshold":           {[]float32{35}, Counts}, // by the second one: e^35 molecules
		"above the first threshold":        {[]float32{35.5}, Counts},
		"shallow counts":                   {repeat(2, 500), Log1p},
		"a cell normalised to 10,000":      {repeat(float32(math.Log1p(10)), 1000), Log1p},
		"one gene just below 5,000,000":    {[]float32{log5M * (1 - 1e-6)}, Log1p},
		"one gene just above 5,000,000":    {[]float32{log5M * (1 + 1e-6)}, Counts},
		"many genes just below 5,000,000":  {repeat(float32(math.Log1p(999)), 5004), Log1p},
		"many genes well above 5,000,000":  {repeat(float32(math.Log1p(999)), 5010), Counts},
		"bounds do not decide, sum does":   {append(repeat(0.5, 20_000), float32(math.Log1p(4_000_000))), Log1p},
		"bounds do not decide, sum counts": {append(repeat(5, 20_000), float32(math.Log1p(4_000_000))), Counts},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(c.values); got != c.want || got != judgeByTheRule(c.values) {
				t.Errorf("got %v, the rule says %v, want %v", got, judgeByTheRule(c.values), c.want)
			}
		})
	}
}

func TestJudgeAgreesWithTheRuleBeyondItsTolerance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + random.IntN(3000)
		values := make([]float32, n)
		var total float64
		for i := range values {
			values[i] = float32(random.ExpFloat64())
			total += math.Expm1(float64(values[i]))
		}
		// Scale the cell to lie close to the threshold, on either side.
		factor := 5_000_000 / total * (1 + (random.Float64()-0.5)*0.01)
		total = 0
		for i, v := range values {
			values[i] = float32(math.Log1p(math.Expm1(float64(v)) * factor))
			total += math.Expm1(float64(values[i]))
		}
		if math.Abs(total/5_000_000-1) < 1e-4 {
			continue
		}
		if got, want := Judge(values), judgeByTheRule(values); got != want {
			t.Fatalf("%d genes, total %.1f: got %v, want %v", n, total, got, want)
		}
		random.Shuffle(n, func(i, j int) { values[i], values[j] = values[j], values[i] })
		if Judge(values) != judgeByTheRule(values) {
			t.Fatal("the order of the genes changed the decision")
		}
	}
}

func TestLog1pOf(t *testing.T) {
	for _, v := range []float32{0, 1, 2.5, 35, 4095, 4096, 1e6, 3e9, 1e30} {
		if got, want := Log1pOf(v), float32(math.Log1p(float64(v))); got != want {
			t.Errorf("Log1pOf(%v) = %v, want %v", v, got, want)
		}
	}
}

func TestParseScale(t *testing.T) {
	for _, want := range []Scale{Auto, Counts, Log1p} {
		if got, err := ParseScale(want.String()); got != want || err != nil {
			t.Errorf("%v: got %v, %v", want, got, err)
		}
	}
	if _, err := ParseScale("raw"); !errors.Is(err, ErrScale) {
		t.Errorf("got %v", err)
	}
}

package sentence_test

import (
	"math"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// unknown is short, so that the columns of the tables below stand in line.
const unknown = vocabulary.Unknown

// drawn stands for a token that is a matter of chance; byTheRules knows which
// tokens it may be.
const drawn = -5

const cls = 100

func close32(got, want []float32) bool {
	return slices.EqualFunc(got, want, func(a, b float32) bool {
		return math.Abs(float64(a-b)) <= 1e-6*math.Abs(float64(b))
	})
}

// The sentences are worked out by hand: 100 × value / sum of the valid genes'
// log1p values, valid gene 3 (counted from 0) in the [CLS] slot.
func TestTokenize(t *testing.T) {
	const third = 100. / 3
	whole := []int32{50, 20, unknown, 90, 30, 70, 10, 60, 40, 80} // 9 valid genes; gene 3 is token 30, in column 4
	panel := []int32{50, 20, unknown, 90, 30, 70, 10}             // 6 valid genes; gene 3 is token 30, in column 4
	twice := []int32{50, 50, 20, 30, 30, unknown}                 // 5 valid genes; gene 3 is token 30, in column 3
	log1pOf6M := float32(math.Log1p(6e6))
	every := func(fills ...sentence.Fill) []sentence.Fill { return fills }
	const auto, shared, independent = sentence.Auto, sentence.Shared, sentence.Independent
	const expected, none = sentence.Expected, sentence.None

	for _, c := range []struct {
		name         string
		tokens       []int32
		padLength    int
		fills        []sentence.Fill
		scale        expression.Scale
		values       []float32
		genes        []int32
		want         []float32
		multiplicity []float32 // nil: 1 each
		wantScale    expression.Scale
		nExpressed   int
	}{
		{
			name: "highest first, then one drawn", tokens: whole, padLength: 5, fills: every(auto, shared, independent),
			values: []float32{1, 0, 0, 0, 2, 0, 0, 5, 0, 0},
			genes:  []int32{cls, 60, 30, 50, drawn}, want: []float32{25, 62.5, 25, 12.5, 0},
			wantScale: expression.Log1p, nExpressed: 3,
		},
		{
			name: "a gene outside the vocabulary has no part in the sum", tokens: whole, padLength: 5,
			fills:  every(auto, shared, independent),
			values: []float32{1, 0, 8, 0, 2, 0, 0, 5, 0, 0},
			genes:  []int32{cls, 60, 30, 50, drawn}, want: []float32{25, 62.5, 25, 12.5, 0},
			wantScale: expression.Log1p, nExpressed: 3,
		},
		{
			name: "none takes expressed genes only", tokens: whole, padLength: 5, fills: every(none),
			values: []float32{1, 0, 0, 0, 2, 0, 0, 5, 0, 0},
			genes:  []int32{cls, 60, 30, 50}, want: []float32{25, 62.5, 25, 12.5},
			wantScale: expression.Log1p, nExpressed: 3,
		},
		{
			// Gene 3 is not expressed: nor is another one's value in the slot.
			name: "the [CLS] slot's gene is not expressed", tokens: whole, padLength: 4, fills: every(auto, shared, independent),
			values: []float32{1, 0, 0, 3, 0, 0, 0, 0, 0, 0},
			genes:  []int32{cls, 90, 50, drawn}, want: []float32{0, 75, 25, 0},
			wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			// 16 in all, the gene without a slot and [CLS]'s among them.
			name: "a gene left out by the pad length counts in the sum", tokens: whole, padLength: 4,
			fills:  every(auto, shared, independent, none),
			values: []float32{4, 3, 0, 6, 1, 2, 0, 0, 0, 0},
			genes:  []int32{cls, 90, 50, 20}, want: []float32{6.25, 37.5, 25, 18.75},
			wantScale: expression.Log1p, nExpressed: 5,
		},
		{
			name: "every gene expressed", tokens: whole, padLength: 5, fills: every(auto, shared, independent, none),
			values: []float32{1, 2, 0, 3, 4, 5, 6, 7, 12, 10}, // 50
			genes:  []int32{cls, 40, 80, 60, 10}, want: []float32{8, 24, 20, 14, 12},
			wantScale: expression.Log1p, nExpressed: 9,
		},
		{
			name: "a cell without expression is uniform", tokens: whole, padLength: 5, fills: every(auto, shared, independent),
			values: make([]float32, 10),
			genes:  []int32{cls, drawn, drawn, drawn, drawn}, want: slices.Repeat([]float32{100. / 9}, 5),
			wantScale: expression.Log1p,
		},
		{
			name: "a cell without expression, none", tokens: whole, padLength: 5, fills: every(none),
			values: make([]float32, 10),
			genes:  []int32{cls}, want: []float32{100. / 9},
			wantScale: expression.Log1p,
		},
		{
			// The only expression lies outside the vocabulary.
			name: "no valid gene expressed", tokens: whole, padLength: 3, fills: every(auto, shared, independent),
			values: []float32{0, 0, 7, 0, 0, 0, 0, 0, 0, 0},
			genes:  []int32{cls, drawn, drawn}, want: slices.Repeat([]float32{100. / 9}, 3),
			wantScale: expression.Log1p,
		},
		{
			// log1p of 63, 3, 1 is 6, 2, 1 × ln 2.
			name: "counts", tokens: whole, padLength: 5, fills: every(auto, shared, independent),
			values: []float32{1, 63, 0, 0, 3, 0, 0, 0, 0, 0},
			genes:  []int32{cls, 20, 30, 50, drawn}, want: []float32{200. / 9, 600. / 9, 200. / 9, 100. / 9, 0},
			wantScale: expression.Counts, nExpressed: 3,
		},
		{
			// Taken for log1p, 1 and 3 would be 25 and 75.
			name: "the maximum that decides may lie outside the vocabulary", tokens: whole, padLength: 3,
			fills:  every(auto, shared, independent, none),
			values: []float32{1, 0, 36, 0, 3, 0, 0, 0, 0, 0},
			genes:  []int32{cls, 30, 50}, want: []float32{2 * third, 2 * third, third},
			wantScale: expression.Counts, nExpressed: 2,
		},
		{
			name: "the sum that decides may lie outside the vocabulary", tokens: whole, padLength: 3,
			fills:  every(auto, shared, independent, none),
			values: []float32{1, 0, log1pOf6M, 0, 3, 0, 0, 0, 0, 0},
			genes:  []int32{cls, 30, 50}, want: []float32{2 * third, 2 * third, third},
			wantScale: expression.Counts, nExpressed: 2,
		},
		{
			name: "shallow counts are taken for log1p", tokens: whole, padLength: 3, fills: every(auto, shared, independent),
			values: []float32{1, 0, 0, 0, 3, 0, 0, 0, 0, 0},
			genes:  []int32{cls, 30, 50}, want: []float32{75, 75, 25},
			wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			name: "counts asked for", tokens: whole, padLength: 3, fills: every(auto, shared, independent),
			scale: expression.Counts, values: []float32{1, 0, 0, 0, 3, 0, 0, 0, 0, 0},
			genes: []int32{cls, 30, 50}, want: []float32{2 * third, 2 * third, third},
			wantScale: expression.Counts, nExpressed: 2,
		},
		{
			name: "log1p asked for", tokens: whole, padLength: 3, fills: every(auto, shared, independent),
			scale: expression.Log1p, values: []float32{12, 0, 0, 0, 36, 0, 0, 0, 0, 0},
			genes: []int32{cls, 30, 50}, want: []float32{75, 75, 25},
			wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			name: "values that tie for the last slots", tokens: whole, padLength: 4, fills: every(auto, shared, independent, none),
			values: []float32{1, 1, 0, 1, 4, 1, 0, 0, 0, 0}, // 8
			genes:  []int32{cls, 30, drawn, drawn}, want: []float32{50, 50, 12.5, 12.5},
			wantScale: expression.Log1p, nExpressed: 5,
		},
		{
			// Nine slots, two expressed genes: seven slots for four genes.
			name: "panel, expected", tokens: panel, padLength: 10, fills: every(auto, expected),
			values: []float32{1, 0, 0, 0, 3, 0, 0},
			genes:  []int32{cls, 30, 50, drawn, drawn, drawn, drawn}, want: []float32{75, 75, 25, 0, 0, 0, 0},
			multiplicity: []float32{1, 1, 1, 1.75, 1.75, 1.75, 1.75},
			wantScale:    expression.Log1p, nExpressed: 2,
		},
		{
			name: "panel, with replacement", tokens: panel, padLength: 10, fills: every(shared, independent),
			values: []float32{1, 0, 0, 0, 3, 0, 0},
			genes:  []int32{cls, 30, 50, drawn, drawn, drawn, drawn, drawn, drawn, drawn},
			want:   []float32{75, 75, 25, 0, 0, 0, 0, 0, 0, 0}, wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			name: "panel, none", tokens: panel, padLength: 10, fills: every(none),
			values: []float32{1, 0, 0, 0, 3, 0, 0},
			genes:  []int32{cls, 30, 50}, want: []float32{75, 75, 25}, wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			name: "panel, one gene left to draw", tokens: panel, padLength: 10, fills: every(shared, independent),
			values: []float32{1, 2, 0, 4, 8, 0, 10}, // 25; token 70 is not expressed
			genes:  []int32{cls, 10, 30, 90, 20, 50, 70, 70, 70, 70},
			want:   []float32{32, 40, 32, 16, 8, 4, 0, 0, 0, 0}, wantScale: expression.Log1p, nExpressed: 5,
		},
		{
			name: "panel, one gene left, expected", tokens: panel, padLength: 10, fills: every(auto, expected),
			values: []float32{1, 2, 0, 4, 8, 0, 10},
			genes:  []int32{cls, 10, 30, 90, 20, 50, 70}, want: []float32{32, 40, 32, 16, 8, 4, 0},
			multiplicity: []float32{1, 1, 1, 1, 1, 1, 4}, wantScale: expression.Log1p, nExpressed: 5,
		},
		{
			// The reference crashes; there is nothing to draw, so nothing is.
			name: "panel, every gene expressed", tokens: panel, padLength: 10, fills: allFills,
			values: []float32{1, 2, 0, 3, 4, 6, 9}, // 25
			genes:  []int32{cls, 10, 70, 30, 90, 20, 50}, want: []float32{16, 36, 24, 16, 12, 8, 4},
			wantScale: expression.Log1p, nExpressed: 6,
		},
		{
			name: "panel without expression, expected", tokens: panel, padLength: 10, fills: every(auto, expected),
			values: make([]float32, 7),
			genes:  []int32{cls, drawn, drawn, drawn, drawn, drawn, drawn}, want: slices.Repeat([]float32{100. / 6}, 7),
			multiplicity: []float32{1, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5}, wantScale: expression.Log1p,
		},
		{
			name: "as many genes as slots: all are taken once", tokens: panel, padLength: 7,
			fills:  every(auto, shared, independent, expected),
			values: []float32{1, 0, 0, 0, 3, 0, 0},
			genes:  []int32{cls, 30, 50, drawn, drawn, drawn, drawn}, want: []float32{75, 75, 25, 0, 0, 0, 0},
			wantScale: expression.Log1p, nExpressed: 2,
		},
		{
			name: "two columns of one token both stay", tokens: twice, padLength: 4, fills: every(auto, shared, independent),
			values: []float32{1, 4, 0, 3, 0, 0},
			genes:  []int32{cls, 50, 30, 50}, want: []float32{37.5, 50, 37.5, 12.5},
			wantScale: expression.Log1p, nExpressed: 3,
		},
		{
			// Token 30 stands once among the expressed genes, and once more.
			name: "two columns of one token, one of them expressed", tokens: twice, padLength: 6,
			fills:  every(auto, shared, independent, expected),
			values: []float32{1, 4, 2, 3, 0, 0},
			genes:  []int32{cls, 50, 30, 20, 50, 30}, want: []float32{30, 40, 30, 20, 10, 0},
			wantScale: expression.Log1p, nExpressed: 4,
		},
		{
			name: "two equal columns of one token", tokens: twice, padLength: 3, fills: every(auto, shared, independent, none),
			values: []float32{2, 2, 1, 0, 0, 0},
			genes:  []int32{cls, 50, 50}, want: []float32{0, 40, 40}, wantScale: expression.Log1p, nExpressed: 3,
		},
	} {
		for _, fill := range c.fills {
			t.Run(c.name+"/"+fill.String(), func(t *testing.T) {
				o := sentence.Options{
					PadLength: c.padLength, CLSPosition: 3, CLS: cls, Fill: fill, Seed: 1, Scale: c.scale,
				}
				plan := newPlan(t, c.tokens, o)
				got := tokenize(t, plan, plan.NewWorker(), rowOf(c.values), 0)
				if err := byTheRules(c.tokens, o, c.values, got); err != nil {
					t.Errorf("against the rules: %v", err)
				}
				genes := slices.Clone(got.genes)
				for i := range min(len(genes), len(c.genes)) {
					if c.genes[i] == drawn {
						genes[i] = drawn
					}
				}
				multiplicity := c.multiplicity
				if multiplicity == nil {
					multiplicity = slices.Repeat([]float32{1}, len(c.genes))
				}
				if !slices.Equal(genes, c.genes) {
					t.Errorf("genes %v, want %v", got.genes, c.genes)
				}
				if !close32(got.values, c.want) {
					t.Errorf("values %v, want %v", got.values, c.want)
				}
				if !slices.Equal(got.multiplicity, multiplicity) {
					t.Errorf("multiplicity %v, want %v", got.multiplicity, multiplicity)
				}
				if got.cell.Scale != c.wantScale || got.cell.NExpressed != c.nExpressed {
					t.Errorf("taken for %v, %d expressed; want %v, %d",
						got.cell.Scale, got.cell.NExpressed, c.wantScale, c.nExpressed)
				}
			})
		}
	}
}

func TestNegativeValuesAreUnexpressed(t *testing.T) {
	matrix, err := expression.NewDense(1, 5, 5, 1, []float32{3, -4, 0, 1, -2})
	if err != nil {
		t.Fatal(err)
	}
	row, err := expression.NewReader(matrix).Read(0)
	if err != nil {
		t.Fatal(err)
	}
	plan := newPlan(t, []int32{0, 1, 2, 3, 4}, sentence.Options{PadLength: 6, CLSPosition: 1, CLS: 5})
	got := tokenize(t, plan, plan.NewWorker(), row, 0)
	if want := []float32{0, 75, 25, 0, 0, 0}; !slices.Equal(got.values, want) {
		t.Errorf("values %v, want %v", got.values, want)
	}
	if got.cell.Negative != 2 || got.cell.NExpressed != 2 {
		t.Errorf("%d negative, %d expressed; want 2, 2", got.cell.Negative, got.cell.NExpressed)
	}
}

// A caller whose plan is not weighted hands in no memory for multiplicities.
func TestMultiplicityMayBeLeftOut(t *testing.T) {
	for _, fill := range []sentence.Fill{sentence.Shared, sentence.Independent, sentence.None} {
		t.Run(fill.String(), func(t *testing.T) {
			o := sentence.Options{PadLength: 5, CLSPosition: 0, CLS: 9, Fill: fill}
			plan := newPlan(t, []int32{0, 1, 2, 3, 4, 5}, o)
			row := rowOf([]float32{0, 1, 3, 0, 0, 0})
			want := tokenize(t, plan, plan.NewWorker(), row, 0)
			out := sentence.Sentence{
				GeneIndices: make([]int32, plan.MaxLength()), ExpressionValues: make([]float32, plan.MaxLength()),
			}
			if cell := plan.NewWorker().Tokenize(row, 0, out); cell != want.cell {
				t.Fatalf("got %+v, want %+v", cell, want.cell)
			}
			if n := want.cell.Length; !slices.Equal(out.GeneIndices[:n], want.genes) ||
				!slices.Equal(out.ExpressionValues[:n], want.values) {
				t.Errorf("got %v %v, want %v %v", out.GeneIndices[:n], out.ExpressionValues[:n], want.genes, want.values)
			}
		})
	}
}

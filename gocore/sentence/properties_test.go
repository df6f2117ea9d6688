package sentence_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// dataSet is a random data set: its genes, a model's options and some cells.
type dataSet struct {
	tokens  []int32
	options sentence.Options
	cells   [][]float32
}

// nValid is the number of genes with a token.
func (d *dataSet) nValid() int {
	n := 0
	for _, token := range d.tokens {
		if token != vocabulary.Unknown {
			n++
		}
	}
	return n
}

// plan is nil where the policy does not suit the data set.
func (d *dataSet) plan(t *testing.T) *sentence.Plan {
	t.Helper()
	if d.options.Fill == sentence.Expected && d.nValid() > d.options.PadLength-1 {
		return nil
	}
	return newPlan(t, d.tokens, d.options)
}

// randomDataSet makes panels and whole transcriptomes in small, with genes
// outside the vocabulary, ties, and cells from empty to fully expressed. A
// repeated token is one that several columns have.
func randomDataSet(random *rand.Rand, repeated bool) *dataSet {
	nGenes := 8 + random.IntN(50)
	d := &dataSet{tokens: make([]int32, nGenes)}
	for i, token := range random.Perm(3 * nGenes)[:nGenes] {
		d.tokens[i] = int32(token)
		switch {
		case i < 4: // enough valid genes for the [CLS] slot
		case random.IntN(5) == 0:
			d.tokens[i] = vocabulary.Unknown
		case repeated && random.IntN(5) == 0:
			d.tokens[i] = d.tokens[random.IntN(i)]
		}
	}
	random.Shuffle(nGenes, func(i, j int) { d.tokens[i], d.tokens[j] = d.tokens[j], d.tokens[i] })
	nValid := d.nValid()
	padLength := nValid + 1 // every gene has a slot
	switch random.IntN(4) {
	case 0: // more genes than slots
		padLength = 2 + random.IntN(nValid-1)
	case 1: // a panel
		padLength = nValid + 2 + random.IntN(nValid)
	}
	d.options = sentence.Options{
		PadLength: padLength, CLSPosition: random.IntN(4), CLS: int32(3 * nGenes),
		Seed: random.Uint64(), Scale: expression.Scale(random.IntN(3)),
	}
	for _, density := range []float64{0, 0.1, 0.5, 0.9, 1} {
		values := make([]float32, nGenes)
		for i := range values {
			if random.Float64() >= density {
				continue
			}
			switch random.IntN(3) {
			case 0:
				values[i] = float32(1 + random.IntN(3)) // ties
			case 1:
				values[i] = float32(random.ExpFloat64())
			case 2:
				values[i] = float32(1 + random.IntN(1+random.IntN(200))) // raw counts, now and then
			}
		}
		d.cells = append(d.cells, values)
	}
	return d
}

// eachPlan runs a property over many random data sets and policies.
func eachPlan(t *testing.T, fills []sentence.Fill, repeated bool, property func(*dataSet, *sentence.Plan) error) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	tested := map[sentence.Fill]int{}
	for i := range 200 {
		d := randomDataSet(random, repeated)
		for _, fill := range fills {
			d.options.Fill = fill
			plan := d.plan(t)
			if plan == nil {
				continue
			}
			tested[fill]++
			if err := property(d, plan); err != nil {
				t.Fatalf("data set %d, fill %v (%v), %d valid genes, pad length %d: %v",
					i, fill, plan.Fill(), plan.NValid(), d.options.PadLength, err)
			}
		}
	}
	for _, fill := range fills {
		if tested[fill] < 50 {
			t.Errorf("fill %v: only %d data sets, want 50", fill, tested[fill])
		}
	}
}

func TestEverySentenceFollowsTheRules(t *testing.T) {
	eachPlan(t, allFills, true, func(d *dataSet, plan *sentence.Plan) error {
		for row, values := range d.cells {
			got := tokenize(t, plan, plan.NewWorker(), rowOf(values), row)
			if err := byTheRules(d.tokens, d.options, values, got); err != nil {
				return fmt.Errorf("cell %d: %w", row, err)
			}
			if !plan.Varying() && got.cell.Length != plan.MaxLength() {
				return fmt.Errorf("cell %d: length %d of a plan whose sentences all have %d",
					row, got.cell.Length, plan.MaxLength())
			}
			var total float64
			weighted := false
			for _, m := range got.multiplicity[1:] {
				total += float64(m)
				weighted = weighted || m != 1
			}
			if weighted && !plan.Weighted() {
				return fmt.Errorf("cell %d: multiplicities %v of a plan that is not weighted", row, got.multiplicity)
			}
			// Whatever is drawn stands for every slot; a cell that leaves nothing
			// to draw from has its expressed genes only.
			want := float64(d.options.PadLength - 1)
			if plan.Fill() == sentence.None || got.cell.NExpressed == plan.NValid() {
				want = min(want, float64(got.cell.NExpressed))
			}
			if math.Abs(total-want) > 1e-4 {
				return fmt.Errorf("cell %d: multiplicities sum to %v, want %v", row, total, want)
			}
		}
		return nil
	})
}

func TestSentenceDoesNotDependOnTheRow(t *testing.T) {
	fills := []sentence.Fill{sentence.Auto, sentence.Shared, sentence.Expected, sentence.None}
	eachPlan(t, fills, true, func(d *dataSet, plan *sentence.Plan) error {
		for i, values := range d.cells {
			want := tokenize(t, plan, plan.NewWorker(), rowOf(values), 0)
			for _, row := range []int{1, 2, 1 << 40} {
				if got := tokenize(t, plan, plan.NewWorker(), rowOf(values), row); !got.equal(want) {
					return fmt.Errorf("cell %d: row %d gives %v, row 0 %v", i, row, got, want)
				}
			}
		}
		return nil
	})
}

// A worker that has seen other cells, or one of another plan with the same
// options, writes what a fresh one writes.
func TestWorkersAgree(t *testing.T) {
	eachPlan(t, allFills, true, func(d *dataSet, plan *sentence.Plan) error {
		used := newPlan(t, d.tokens, d.options).NewWorker()
		for range 2 {
			for i, values := range d.cells {
				want := tokenize(t, plan, plan.NewWorker(), rowOf(values), i)
				if got := tokenize(t, plan, used, rowOf(values), i); !got.equal(want) {
					return fmt.Errorf("cell %d: a worker used before writes %v, a fresh one %v", i, got, want)
				}
			}
		}
		return nil
	})
}

// permuted is a data set with its genes in another order.
func permuted(random *rand.Rand, d *dataSet) *dataSet {
	order := random.Perm(len(d.tokens))
	p := &dataSet{options: d.options, tokens: make([]int32, len(order)), cells: make([][]float32, len(d.cells))}
	for to, from := range order {
		p.tokens[to] = d.tokens[from]
		for i := range d.cells {
			p.cells[i] = append(p.cells[i], d.cells[i][from])
		}
	}
	return p
}

func sameButForCLS(t *testing.T, d *dataSet, plan *sentence.Plan, random *rand.Rand) error {
	t.Helper()
	other := permuted(random, d)
	otherPlan := newPlan(t, other.tokens, other.options)
	for i := range d.cells {
		want := tokenize(t, plan, plan.NewWorker(), rowOf(d.cells[i]), i)
		got := tokenize(t, otherPlan, otherPlan.NewWorker(), rowOf(other.cells[i]), i)
		// The [CLS] slot has the value of another gene now: the one that the rules name.
		if err := byTheRules(other.tokens, other.options, other.cells[i], got); err != nil {
			return fmt.Errorf("cell %d: %w", i, err)
		}
		got.values[0] = want.values[0]
		if !got.equal(want) {
			return fmt.Errorf("cell %d: %v, and with the genes in another order %v", i, want, got)
		}
	}
	return nil
}

func TestOrderOfGenesChangesTheCLSValueAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	property := func(d *dataSet, plan *sentence.Plan) error { return sameButForCLS(t, d, plan, random) }
	t.Run("every policy", func(t *testing.T) {
		eachPlan(t, allFills, false, property)
	})
	t.Run("repeated tokens", func(t *testing.T) {
		eachPlan(t, allFills, true, property)
	})
}

// nTokens gives a data set of n genes with spread-out tokens.
func nTokens(n int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(7*i + 3)
	}
	return tokens
}

// firstN is a cell that expresses the first n of its genes, all alike.
func firstN(nGenes, n int) []float32 {
	return append(slices.Repeat([]float32{1}, n), make([]float32, nGenes-n)...)
}

func TestIndependentDiffersByRowAndBySeed(t *testing.T) {
	for name, padLength := range map[string]int{"without replacement": 31, "with replacement": 81} {
		t.Run(name, func(t *testing.T) {
			row := rowOf(firstN(60, 10))
			genes := func(seed uint64, rowNumber int) []int32 {
				plan := newPlan(t, nTokens(60), sentence.Options{
					PadLength: padLength, CLS: cls, Fill: sentence.Independent, Seed: seed,
				})
				return tokenize(t, plan, plan.NewWorker(), row, rowNumber).genes
			}
			base := genes(1, 0)
			if !slices.Equal(base, genes(1, 0)) {
				t.Error("the same seed and row give another sentence")
			}
			// Two draws that agree by chance have a probability below 1e-13.
			if slices.Equal(base[11:], genes(1, 1)[11:]) {
				t.Error("rows 0 and 1 are filled alike")
			}
			if slices.Equal(base[11:], genes(2, 0)[11:]) {
				t.Error("seeds 1 and 2 fill alike")
			}
			// And so do the ten ties, by a chance of 1 in 10!.
			if slices.Equal(base[1:11], genes(1, 1)[1:11]) {
				t.Error("rows 0 and 1 break ties alike")
			}
			if slices.Equal(base[1:11], genes(2, 0)[1:11]) {
				t.Error("seeds 1 and 2 break ties alike")
			}
		})
	}
}

func without(tokens, left []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(tokens), func(token int32) bool { return slices.Contains(left, token) })
}

// One order of genes, by the seed and the token alone, serves every cell of
// every data set: unexpressed genes are taken, and ties broken, in that order.
func TestSharedHasOneOrder(t *testing.T) {
	tokens := nTokens(60)
	options := sentence.Options{PadLength: 61, CLS: cls, Fill: sentence.Shared, Seed: 5}
	genes := func(tokens []int32, o sentence.Options, values []float32) []int32 {
		plan := newPlan(t, tokens, o)
		return tokenize(t, plan, plan.NewWorker(), rowOf(values), 0).genes[1:]
	}
	order := genes(tokens, options, make([]float32, 60)) // a cell without expression is filled with every gene
	if slices.Equal(order, tokens) {
		t.Fatal("the order is that of the data set")
	}
	t.Run("ties", func(t *testing.T) {
		if got := genes(tokens, options, firstN(60, 60)); !slices.Equal(got, order) {
			t.Errorf("60 equal values: %v, want %v", got, order)
		}
		o := options
		o.PadLength = 21
		if got := genes(tokens, o, firstN(60, 60)); !slices.Equal(got, order[:20]) {
			t.Errorf("60 equal values for 20 slots: %v, want %v", got, order[:20])
		}
	})
	t.Run("unexpressed", func(t *testing.T) {
		o := options
		o.PadLength = 31
		for _, nExpressed := range []int{1, 10, 29} {
			got := genes(tokens, o, firstN(60, nExpressed))[nExpressed:]
			if want := without(order, tokens[:nExpressed])[:30-nExpressed]; !slices.Equal(got, want) {
				t.Errorf("%d expressed: filled with %v, want %v", nExpressed, got, want)
			}
		}
	})
	t.Run("subset of the genes", func(t *testing.T) {
		o := options
		o.PadLength = 41
		if got, want := genes(tokens[:40], o, make([]float32, 40)), without(order, tokens[40:]); !slices.Equal(got, want) {
			t.Errorf("40 of the genes: %v, want %v", got, want)
		}
	})
	t.Run("seed", func(t *testing.T) {
		o := options
		o.Seed++
		if slices.Equal(genes(tokens, o, make([]float32, 60)), order) {
			t.Error("seeds 5 and 6 have one order")
		}
	})
}

// chiSquare is Pearson's statistic of how often each gene was taken, against
// nTaken of nGenes being equally likely in each of nRows draws. Without
// replacement, a gene's count varies less than a multinomial's: by 1 - p.
func chiSquare(counts map[int32]int, nGenes, nTaken, nRows int, replaced bool) float64 {
	p := float64(nTaken) / float64(nGenes)
	want := p * float64(nRows)
	var sum float64
	for _, n := range counts {
		sum += (float64(n) - want) * (float64(n) - want)
	}
	sum += float64(nGenes-len(counts)) * want * want // genes never taken
	if replaced {
		return sum / want
	}
	return sum / (want * (1 - p)) * float64(nGenes-1) / float64(nGenes)
}

// Over rows, or for the shared order over seeds, every gene that may be taken
// is taken equally often: the reference's draw. The bound is the mean of the
// chi-square distribution and six of its standard deviations; with a fixed
// seed the outcome is fixed, too.
func TestDrawsAreUniform(t *testing.T) {
	const nRows = 4000
	for _, c := range []struct {
		name                       string
		fill                       sentence.Fill
		nGenes, nExpressed, nSlots int
		from, to                   int // the slots looked at, [CLS] not counted
		nEligible                  int
		replaced, bySeed           bool
	}{
		{"independent, unexpressed", sentence.Independent, 60, 10, 30, 10, 30, 50, false, false},
		{"independent, unexpressed of a panel", sentence.Independent, 12, 4, 40, 4, 40, 8, true, false},
		{"independent, ties", sentence.Independent, 60, 50, 20, 0, 20, 50, false, false},
		{"independent, ties, first slot", sentence.Independent, 60, 50, 20, 0, 1, 50, false, false},
		{"independent, first drawn", sentence.Independent, 60, 10, 30, 10, 11, 50, false, false},
		{"shared, unexpressed", sentence.Shared, 60, 10, 30, 10, 30, 50, false, true},
		{"shared, unexpressed of a panel", sentence.Shared, 12, 4, 40, 4, 40, 8, true, true},
		{"shared, ties", sentence.Shared, 60, 50, 20, 0, 20, 50, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens := nTokens(c.nGenes)
			row := rowOf(firstN(c.nGenes, c.nExpressed))
			o := sentence.Options{PadLength: c.nSlots + 1, CLS: cls, Fill: c.fill, Seed: 11}
			plan := newPlan(t, tokens, o)
			worker := plan.NewWorker()
			counts := map[int32]int{}
			for i := range nRows {
				if c.bySeed {
					o.Seed = uint64(i)
					plan = newPlan(t, tokens, o)
					worker = plan.NewWorker()
				}
				for _, token := range tokenize(t, plan, worker, row, i).genes[1+c.from : 1+c.to] {
					counts[token]++
				}
			}
			freedom := float64(c.nEligible - 1)
			bound := freedom + 6*math.Sqrt(2*freedom)
			if got := chiSquare(counts, c.nEligible, c.to-c.from, nRows, c.replaced); got > bound {
				t.Errorf("chi-square %.1f, want at most %.1f: %v", got, bound, counts)
			}
		})
	}
}

// A token that several columns have is drawn as often as it has unexpressed
// columns, whichever of them those are: of 30 tokens with two columns each, ten
// have one left and twenty have both.
func TestEveryUnexpressedColumnCountsOnce(t *testing.T) {
	const nRows, nColumns, nTokens, nExpressed = 4000, 60, 30, 10
	tokens := make([]int32, nColumns)
	for column := range tokens {
		tokens[column] = int32(column % nTokens)
	}
	for name, padLength := range map[string]int{"without replacement": 31, "with replacement": 81} {
		t.Run(name, func(t *testing.T) {
			plan := newPlan(t, tokens, sentence.Options{PadLength: padLength, CLS: cls, Fill: sentence.Independent, Seed: 7})
			worker := plan.NewWorker()
			nDrawn, nOfOneLeft := 0, 0
			for i := range nRows {
				// Of every other cell the second columns are the expressed ones.
				values := make([]float32, nColumns)
				for token := range nExpressed {
					values[token+i%2*nTokens] = 1
				}
				for _, token := range tokenize(t, plan, worker, rowOf(values), i).genes[1+nExpressed:] {
					nDrawn++
					if token < nExpressed {
						nOfOneLeft++
					}
				}
			}
			const want = float64(nExpressed) / (nColumns - nExpressed)
			got, bound := float64(nOfOneLeft)/float64(nDrawn), 6*math.Sqrt(want*(1-want)/float64(nDrawn))
			if math.Abs(got-want) > bound {
				t.Errorf("a share of %.4f, want %.4f ± %.4f", got, want, bound)
			}
		})
	}
}

// Draws of neighbouring rows have no more in common than chance gives: of 20
// genes out of 50, 20·20/50 = 8 are in both, with the variance of the
// hypergeometric distribution.
func TestNeighbouringRowsAreIndependent(t *testing.T) {
	const nRows, nDrawn, nUnexpressed = 4000, 20, 50
	plan := newPlan(t, nTokens(60), sentence.Options{PadLength: 31, CLS: cls, Fill: sentence.Independent, Seed: 3})
	worker, row := plan.NewWorker(), rowOf(firstN(60, 10))
	previous := tokenize(t, plan, worker, row, 0).genes[11:]
	common := 0
	for i := 1; i <= nRows; i++ {
		genes := tokenize(t, plan, worker, row, i).genes[11:]
		for _, token := range genes {
			if slices.Contains(previous, token) {
				common++
			}
		}
		previous = genes
	}
	const share = float64(nDrawn) / nUnexpressed
	variance := nDrawn * share * (1 - share) * (nUnexpressed - nDrawn) / (nUnexpressed - 1)
	got, want, bound := float64(common)/nRows, nDrawn*share, 6*math.Sqrt(variance/nRows)
	if math.Abs(got-want) > bound {
		t.Errorf("%.3f genes in common, want %.3f ± %.3f", got, want, bound)
	}
}

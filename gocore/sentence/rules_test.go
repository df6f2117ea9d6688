package sentence_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/sentence"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// untouched marks memory that a worker must not write.
const untouched = -77

// written is the sentence of one cell as a worker wrote it.
type written struct {
	genes                []int32
	values, multiplicity []float32
	cell                 sentence.Cell
}

func newPlan(t testing.TB, tokens []int32, o sentence.Options) *sentence.Plan {
	t.Helper()
	plan, err := sentence.NewPlan(tokens, o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// rowOf is the canonical form of a cell given as one value a gene.
func rowOf(values []float32) *expression.Row {
	row := &expression.Row{}
	for column, value := range values {
		if value > 0 {
			row.Columns = append(row.Columns, int32(column))
			row.Values = append(row.Values, value)
		}
	}
	return row
}

// tokenize has a worker write a cell into memory of the plan's own size, and
// checks that it stays within the length it tells.
func tokenize(t testing.TB, plan *sentence.Plan, w *sentence.Worker, row *expression.Row, rowNumber int) written {
	t.Helper()
	size := plan.MaxLength()
	out := sentence.Sentence{
		GeneIndices:      slices.Repeat([]int32{untouched}, size),
		ExpressionValues: slices.Repeat([]float32{untouched}, size),
		Multiplicity:     slices.Repeat([]float32{untouched}, size),
	}
	cell := w.Tokenize(row, rowNumber, out)
	for i := cell.Length; i < size; i++ {
		if out.GeneIndices[i] != untouched || out.ExpressionValues[i] != untouched || out.Multiplicity[i] != untouched {
			t.Fatalf("slot %d is written, but the length is %d", i, cell.Length)
		}
	}
	n := cell.Length
	return written{out.GeneIndices[:n], out.ExpressionValues[:n], out.Multiplicity[:n], cell}
}

func (s written) equal(o written) bool {
	return s.cell == o.cell && slices.Equal(s.genes, o.genes) &&
		slices.Equal(s.values, o.values) && slices.Equal(s.multiplicity, o.multiplicity)
}

// gene is a valid column of a cell.
type gene struct {
	token int32
	value float64 // log1p
}

// countTokens is a multiset of tokens.
func countTokens(genes []gene) map[int32]int {
	counts := map[int32]int{}
	for _, g := range genes {
		counts[g.token]++
	}
	return counts
}

// takeFrom removes tokens from a multiset, and tells the first that is not in it.
func takeFrom(counts map[int32]int, tokens []int32) error {
	for _, token := range tokens {
		if counts[token] == 0 {
			return fmt.Errorf("token %d is not there, or not so often", token)
		}
		counts[token]--
	}
	return nil
}

// byTheRules checks a sentence against the reference's rules, spelled out
// without any of the worker's short cuts. It knows what is a matter of chance
// and accepts every outcome that the reference's draw could have.
func byTheRules(tokens []int32, o sentence.Options, values []float32, got written) error {
	scale := o.Scale
	if scale == expression.Auto {
		scale = expression.Judge(values) // all genes, valid or not
	}
	var valid, expressed, unexpressed []gene
	var total float64
	for column, token := range tokens {
		if token == vocabulary.Unknown {
			continue
		}
		g := gene{token, float64(values[column])}
		if scale == expression.Counts {
			g.value = math.Log1p(g.value)
		}
		total += g.value
		valid = append(valid, g)
		if g.value > 0 {
			expressed = append(expressed, g)
		} else {
			unexpressed = append(unexpressed, g)
		}
	}
	share := func(g gene) float64 {
		if total == 0 {
			return 100 / float64(len(valid))
		}
		return 100 * g.value / total
	}
	// float32 holds 24 bits, and the worker rounds log1p to it before the
	// division: 2^-22 leaves room for both roundings.
	differs := func(got float32, want float64) bool { return math.Abs(float64(got)-want) > want/(1<<22) }

	if got.cell.Scale != scale || got.cell.NExpressed != len(expressed) {
		return fmt.Errorf("taken for %v, %d expressed; want %v, %d",
			got.cell.Scale, got.cell.NExpressed, scale, len(expressed))
	}
	if cls := valid[o.CLSPosition]; got.genes[0] != o.CLS || differs(got.values[0], share(cls)) {
		return fmt.Errorf("slot 0 has token %d, value %v; want [CLS] %d with the value of token %d, %v",
			got.genes[0], got.values[0], o.CLS, cls.token, share(cls))
	}

	// Expressed genes, highest first. Equal values may stand in any order, and
	// those that compete for the last slots are any choice among them.
	nSlots := o.PadLength - 1
	slices.SortStableFunc(expressed, func(a, b gene) int { return cmp.Compare(b.value, a.value) })
	nTaken := min(nSlots, len(expressed))
	if len(got.genes) < 1+nTaken {
		return fmt.Errorf("length %d, but %d expressed genes have a slot", len(got.genes), nTaken)
	}
	for from := 0; from < nTaken; {
		to := from
		for to < len(expressed) && expressed[to].value == expressed[from].value {
			to++
		}
		end := min(to, nTaken)
		if err := takeFrom(countTokens(expressed[from:to]), got.genes[1+from:1+end]); err != nil {
			return fmt.Errorf("slots %d to %d, value %v: %w", 1+from, end, expressed[from].value, err)
		}
		for i := from; i < end; i++ {
			if differs(got.values[1+i], share(expressed[i])) {
				return fmt.Errorf("slot %d: value %v, want %v", 1+i, got.values[1+i], share(expressed[i]))
			}
		}
		from = to
	}

	fill := o.Fill
	if fill == sentence.Auto {
		fill = sentence.Shared
		if len(valid) < nSlots {
			fill = sentence.Expected
		}
	}
	filled := got.genes[1+nTaken:]
	wantFilled, each := nSlots-nTaken, 1.0
	var err error
	switch {
	case fill == sentence.None || len(unexpressed) == 0:
		wantFilled = 0
	case wantFilled == 0:
	case fill == sentence.Expected:
		each = float64(wantFilled) / float64(len(unexpressed))
		wantFilled = len(unexpressed)
		err = takeFrom(countTokens(unexpressed), filled)
	case len(valid) >= nSlots: // without replacement: no column twice
		err = takeFrom(countTokens(unexpressed), filled)
	default: // with replacement
		from := countTokens(unexpressed)
		for _, token := range filled {
			if from[token] == 0 {
				err = fmt.Errorf("token %d is not there", token)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("unexpressed genes %v: %w", filled, err)
	}
	if len(filled) != wantFilled {
		return fmt.Errorf("%d slots with unexpressed genes, want %d", len(filled), wantFilled)
	}
	for i := range got.multiplicity {
		want := 1.0
		if i > nTaken {
			want = each
			if differs(got.values[i], share(gene{})) {
				return fmt.Errorf("slot %d: value %v, want %v", i, got.values[i], share(gene{}))
			}
		}
		if differs(got.multiplicity[i], want) {
			return fmt.Errorf("slot %d: multiplicity %v, want %v", i, got.multiplicity[i], want)
		}
	}
	return nil
}

package batch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/se600m/se600m-go/gocore/batch"
	"github.com/se600m/se600m-go/gocore/sentence"
)

func TestSentencesOfOneLength(t *testing.T) {
	for _, weighted := range []bool{false, true} {
		t.Run(fmt.Sprintf("weighted=%v", weighted), func(t *testing.T) {
			collector := newCollector(t, batch.Layout{MaxLength: 50, Weighted: weighted, Cells: 3, Padding: 9})
			var batches []*batch.Batch
			rows := []int{7, 2, 9, 4, 5, 0, 1}
			for _, row := range rows {
				if b := collector.Add(row, sentenceOf(row, 50)); b != nil {
					batches = append(batches, b)
				}
			}
			batches = append(batches, collector.Rest()...)
			var got []int
			for _, b := range batches {
				if err := checkShape(b); err != nil {
					t.Error(err)
				}
				if b.Length != 50 || (b.Multiplicity != nil) != weighted {
					t.Errorf("length %d, multiplicities %v; want 50, %v", b.Length, b.Multiplicity != nil, weighted)
				}
				for at := range b.Rows {
					if err := checkRow(b, at, 50, 9); err != nil {
						t.Error(err)
					}
				}
				got = append(got, b.Rows...)
			}
			if !slices.Equal(got, rows) || len(batches) != 3 {
				t.Errorf("%d batches with cells %v; want 3 with %v", len(batches), got, rows)
			}
		})
	}
}

// What a cell is padded to must not depend on its neighbours, and every cell is
// in one batch, with its own sentence.
func TestSentencesOfManyLengths(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const nCells, padding = 400, 12345
	for _, weighted := range []bool{false, true} {
		for _, maxLength := range []int{30, 256, 300} {
			t.Run(fmt.Sprintf("weighted=%v, up to %d", weighted, maxLength), func(t *testing.T) {
				layout := batch.Layout{
					MaxLength: maxLength, Varying: true, Weighted: weighted, TokenBudget: 1000, Padding: padding,
				}
				lengths := make([]int, nCells)
				for i := range lengths {
					lengths[i] = 1 + random.IntN(maxLength)
					if i%5 == 0 {
						lengths[i] = maxLength
					}
				}
				paddedTo := map[int]int{} // by the sentence's length
				for range 2 {
					collector := newCollector(t, layout)
					var batches []*batch.Batch
					for _, row := range random.Perm(nCells) {
						if b := collector.Add(row, sentenceOf(row, lengths[row])); b != nil {
							batches = append(batches, b)
						}
					}
					seen := map[int]bool{}
					for _, b := range append(batches, collector.Rest()...) {
						if err := checkShape(b); err != nil {
							t.Fatal(err)
						}
						if len(b.Rows)*b.Length > layout.TokenBudget {
							t.Errorf("%d cells of %d slots, over a budget of %d", len(b.Rows), b.Length, layout.TokenBudget)
						}
						for at, row := range b.Rows {
							if seen[row] {
								t.Fatalf("cell %d occurs twice", row)
							}
							seen[row] = true
							if err := checkRow(b, at, lengths[row], padding); err != nil {
								t.Fatal(err)
							}
							if known := paddedTo[lengths[row]]; known != 0 && known != b.Length {
								t.Errorf("%d slots are padded to %d and to %d", lengths[row], known, b.Length)
							}
							paddedTo[lengths[row]] = b.Length
							if b.Multiplicity == nil && (weighted || lengths[row] < b.Length) {
								t.Errorf("cell %d of %d slots, padded to %d, has no multiplicities", row, lengths[row], b.Length)
							}
						}
					}
					if len(seen) != nCells {
						t.Errorf("%d cells came out, want %d", len(seen), nCells)
					}
				}
			})
		}
	}
}

// A sentence that fills its batch's slots and one that is padded to them are of
// one length, but of two graphs: only the padded one needs multiplicities.
func TestFullSentencesAreApartFromPaddedOnes(t *testing.T) {
	collector := newCollector(t, batch.Layout{MaxLength: 100, Varying: true, Cells: 2})
	for row, length := range []int{100, 99} {
		if b := collector.Add(row, sentenceOf(row, length)); b != nil {
			t.Fatalf("cells %v are one batch", b.Rows)
		}
	}
	full := collector.Add(2, sentenceOf(2, 100))
	if full == nil || !slices.Equal(full.Rows, []int{0, 2}) || full.Multiplicity != nil {
		t.Errorf("got %+v, want cells 0 and 2 without multiplicities", full)
	}
	padded := collector.Add(3, sentenceOf(3, 80))
	if padded == nil || !slices.Equal(padded.Rows, []int{1, 3}) || padded.Multiplicity == nil {
		t.Errorf("got %+v, want cells 1 and 3 with multiplicities", padded)
	}
}

func TestRest(t *testing.T) {
	collector := newCollector(t, batch.Layout{MaxLength: 1000, Varying: true, Cells: 10})
	if rest := collector.Rest(); len(rest) != 0 {
		t.Errorf("a new collector has %d batches, want none", len(rest))
	}
	for row, length := range []int{900, 1000, 20, 500, 890, 130, 21} {
		if b := collector.Add(row, sentenceOf(row, length)); b != nil {
			t.Fatalf("cell %d filled a batch of 10: %v", row, b.Rows)
		}
	}
	var lengths []int
	var rows [][]int
	for _, b := range collector.Rest() {
		lengths = append(lengths, b.Length)
		rows = append(rows, b.Rows)
	}
	wantLengths := []int{64, 192, 512, 896, 960, 1000}
	wantRows := [][]int{{2, 6}, {5}, {3}, {4}, {0}, {1}}
	if !slices.Equal(lengths, wantLengths) || !slices.EqualFunc(rows, wantRows, slices.Equal[[]int]) {
		t.Errorf("lengths %v, cells %v; want %v, %v", lengths, rows, wantLengths, wantRows)
	}
	if again := collector.Rest(); len(again) != 0 {
		t.Errorf("%d batches are handed out twice", len(again))
	}
	// A collector goes on after that, in batches of its own.
	collector.Add(7, sentenceOf(7, 20))
	if rest := collector.Rest(); len(rest) != 1 || !slices.Equal(rest[0].Rows, []int{7}) {
		t.Errorf("got %v, want cell 7 alone", rest)
	}
}

// A batch that comes back is filled anew, for a bucket of any other kind,
// without a trace of what it held.
func TestPoolReusesMemory(t *testing.T) {
	const padding = 77
	pool, err := batch.NewPool(batch.Layout{MaxLength: 256, Varying: true, Cells: 3, Padding: padding}, 1)
	if err != nil {
		t.Fatal(err)
	}
	collector := batch.NewCollector(pool)
	var first *batch.Batch
	row := 0
	// 256 slots are full: no multiplicities. The others are padded: they have them.
	for i, length := range []int{200, 256, 10, 250, 256, 256, 65, 1} {
		var b *batch.Batch
		for range 3 {
			if b != nil {
				t.Fatalf("length %d: the batch is full too soon", length)
			}
			b = collector.Add(row, sentenceOf(row, length))
			row++
		}
		if b == nil {
			t.Fatalf("length %d: no batch after three cells", length)
		}
		if first == nil {
			first = b
		} else if b != first {
			t.Fatalf("length %d: other memory, though the batch was given back", length)
		}
		if want := []int{3 * i, 3*i + 1, 3*i + 2}; !slices.Equal(b.Rows, want) {
			t.Errorf("length %d: cells %v, want %v", length, b.Rows, want)
		}
		if got, want := b.Multiplicity != nil, length < 256; got != want {
			t.Errorf("length %d: multiplicities %v, want %v", length, got, want)
		}
		if err := checkShape(b); err != nil {
			t.Errorf("length %d: %v", length, err)
		}
		for at := range b.Rows {
			if err := checkRow(b, at, length, padding); err != nil {
				t.Errorf("length %d: %v", length, err)
			}
		}
		pool.Put(b)
	}
}

// In the long run, batches that go round cost no memory.
func TestPoolMemoryDoesNotGrow(t *testing.T) {
	for _, varying := range []bool{false, true} {
		t.Run(fmt.Sprintf("varying=%v", varying), func(t *testing.T) {
			pool, err := batch.NewPool(batch.Layout{MaxLength: 512, Varying: varying, Cells: 2}, 2)
			if err != nil {
				t.Fatal(err)
			}
			collector := batch.NewCollector(pool)
			lengths := []int{512, 512}
			if varying {
				lengths = []int{512, 100, 512, 100}
			}
			at := 0
			next := func(sentence.Sentence) int {
				at++
				return lengths[at%len(lengths)]
			}
			allocations := testing.AllocsPerRun(100, func() {
				for range lengths {
					if b := collector.Add(0, next); b != nil {
						pool.Put(b)
					}
				}
			})
			if allocations != 0 {
				t.Errorf("%v allocations for %d cells, want 0", allocations, len(lengths))
			}
		})
	}
}

func TestPutNeverWaits(t *testing.T) {
	pool, err := batch.NewPool(batch.Layout{MaxLength: 4, Cells: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	collector := batch.NewCollector(pool)
	var batches []*batch.Batch
	for row := range 3 {
		batches = append(batches, collector.Add(row, sentenceOf(row, 4)))
	}
	for _, b := range batches {
		pool.Put(b) // two more than the pool keeps
	}
	if b := collector.Add(3, sentenceOf(3, 4)); b != batches[0] {
		t.Error("the batch that the pool kept is not used")
	}
	if b := collector.Add(4, sentenceOf(4, 4)); slices.Contains(batches, b) {
		t.Error("the pool kept more batches than it has room for")
	}
}

func TestCollectorsShareAPool(t *testing.T) {
	const nWorkers, nCells, maxLength = 4, 500, 200
	pool, err := batch.NewPool(batch.Layout{MaxLength: maxLength, Varying: true, Cells: 3}, nWorkers)
	if err != nil {
		t.Fatal(err)
	}
	lengthOf := func(row int) int { return 1 + row*37%maxLength }
	var seen [nWorkers * nCells]int // each cell has one worker, so no two goroutines write one entry
	var wait sync.WaitGroup
	for worker := range nWorkers {
		wait.Go(func() {
			collector := batch.NewCollector(pool)
			check := func(b *batch.Batch) {
				for at, row := range b.Rows {
					seen[row]++
					if err := checkRow(b, at, lengthOf(row), 0); err != nil {
						t.Errorf("worker %d: %v", worker, err)
					}
				}
				pool.Put(b)
			}
			for i := range nCells {
				row := worker*nCells + i
				if b := collector.Add(row, sentenceOf(row, lengthOf(row))); b != nil {
					check(b)
				}
			}
			for _, b := range collector.Rest() {
				check(b)
			}
		})
	}
	wait.Wait()
	for row, n := range seen {
		if n != 1 {
			t.Fatalf("cell %d came out %d times, want once", row, n)
		}
	}
}

func BenchmarkCollector(b *testing.B) {
	for name, varying := range map[string]bool{"one length": false, "many lengths": true} {
		b.Run(name, func(b *testing.B) {
			pool, err := batch.NewPool(batch.Layout{MaxLength: 2048, Varying: varying, TokenBudget: 1 << 15}, 4)
			if err != nil {
				b.Fatal(err)
			}
			collector := batch.NewCollector(pool)
			b.ReportAllocs()
			row := 0
			for b.Loop() {
				full := collector.Add(row, func(sentence.Sentence) int {
					if varying {
						return 1800 + row%248
					}
					return 2048
				})
				if full != nil {
					pool.Put(full)
				}
				row++
			}
		})
	}
}

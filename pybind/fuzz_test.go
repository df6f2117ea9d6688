package pybind

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/vocabulary"
)

// within makes sure that the memory that f takes, what it gives back included, is
// bounded by the size of its input: a constant, and so much for each byte.
func within(t *testing.T, constant, perByte, inputSize int, f func()) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	if n := sample[0].Value.Uint64() - before; n > uint64(constant+perByte*inputSize) {
		t.Fatalf("%d bytes of memory for an input of %d", n, inputSize)
	}
}

// lent is memory that begins with some bytes: as many elements as there are whole
// ones.
func lent(t *testing.T, content []byte, dtype string, size int) array {
	t.Helper()
	memory := make([]uint64, (len(content)+7)/8) // aligned for every type
	a := borrowed(t, dtype, memory...)
	a.Length = len(content) / size
	into, err := slice[byte](array{Address: a.Address, Length: len(content)})
	if err != nil {
		t.Fatal(err)
	}
	copy(into, content)
	return a
}

// zeros is memory for n elements of a result; none for more than a test has room for.
func zeros[T any](t *testing.T, dtype string, n int) array {
	t.Helper()
	if n < 0 || n > 1<<16 {
		n = 0
	}
	return borrowed(t, dtype, make([]T, n)...)
}

// product multiplies, 0 where that is more than a test has room for.
func product(a, b int) int {
	if a <= 0 || b <= 0 || a > 1<<16/b {
		return 0
	}
	return a * b
}

// unharmed makes sure that an error is none of a panic: those are defects.
func unharmed(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "panic: ") {
		t.Fatal(err)
	}
}

// done runs a job to its end.
func done(t *testing.T, kind string, request any) (report string, err error) {
	t.Helper()
	text, err := toJSON(request)
	if err != nil {
		t.Fatal(err)
	}
	job, err := Start(kind, text)
	if err == nil {
		report, err = Finish(job)
	}
	unharmed(t, err)
	return report, err
}

var kindNames = slices.Sorted(maps.Keys(kinds))

// FuzzRequests reads text as the requests of all kinds, none of which is carried
// out: an address in it would be taken for memory.
func FuzzRequests(f *testing.F) {
	for i := range kindNames {
		f.Add(uint8(i), `{"model": 1, "Model": 2}`)
		f.Add(uint8(i), strings.Repeat(`{"matrix":`, 1000))
		f.Add(uint8(i), `{"matrix": {"kind": "dense", "n_cells": 1e400}}`)
		f.Add(uint8(i), `{"stages": [{"address": 18446744073709551616}], "threads": -9223372036854775808}`)
		f.Add(uint8(i), `{"queries": {"values": {"address": 1, "length": 9223372036854775807, "dtype": "float32"}, "width": 0, "numbers": null}}`)
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		k := kinds[kindNames[int(which)%len(kindNames)]]
		request := k.request()
		var err error
		within(t, 4<<20, 2000, len(text), func() { err = fromJSON(text, request) })
		if err != nil {
			if !errors.Is(err, errRequest) {
				t.Fatal(err)
			}
			return
		}
		// What was read has all keys, and no others, in any order.
		var given map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(given)
		if err != nil {
			t.Fatal(err)
		}
		second := k.request()
		if err := fromJSON(string(again), second); err != nil || !reflect.DeepEqual(request, second) {
			t.Fatalf("%s is read as %+v, and as %+v the other way round: %v", text, request, second, err)
		}
	})
}

// elements are the types that values come in, and their sizes.
var elements = []struct {
	name string
	size int
}{
	{"float32", 4},
	{"float64", 8},
	{"int8", 1},
	{"int16", 2},
	{"int32", 4},
	{"int64", 8},
	{"uint8", 1},
	{"uint16", 2},
	{"uint32", 4},
	{"uint64", 8},
	{"complex64", 8},
	{"", 1},
}

// matrixOf describes a fuzzed matrix.
func matrixOf(t *testing.T, kind, dtype uint8, nCells, nGenes, cellStride, geneStride int, data, indices, indptr []byte) any {
	t.Helper()
	e := elements[int(dtype)%len(elements)]
	if kind%3 == 0 {
		return denseMatrix{
			Kind: "dense", NCells: nCells, NGenes: nGenes, CellStride: cellStride, GeneStride: geneStride, Data: lent(t, data, e.name, e.size),
		}
	}
	m := csrMatrix{
		Kind: "csr", NCells: nCells, NGenes: nGenes, Data: lent(t, data, e.name, e.size),
		Indices: lent(t, indices, "int32", 4), Indptr: lent(t, indptr, "int64", 8),
	}
	if kind%3 == 1 {
		m.Indices = lent(t, indices, "int64", 8)
	}
	return m
}

// FuzzCells tokenises and surveys a matrix of any bytes, sizes and strides: what a
// request claims is in its memory, or the request is refused.
func FuzzCells(f *testing.F) {
	genes := []string{"CD3D", "LYZ", "MS4A1", "NKG7", "PPBP"}
	v, err := vocabulary.New(genes)
	if err != nil {
		f.Fatal(err)
	}
	addCells(f)
	f.Fuzz(func(t *testing.T, kind, dtype uint8, nCells, nGenes, cellStride, geneStride, length int, data, indices, indptr, columns []byte,
		padLength, clsPosition, choices uint8, seed uint64,
	) {
		model := models.add(&embed.Model{
			Config:     &modeldir.Config{Name: "fuzzed", Dimensions: modeldir.Dimensions{PadLength: int(padLength), CLSTokenIdx: int(clsPosition)}},
			Vocabulary: v,
		})
		defer func() { _, _ = models.take(model) }()
		tokens := make([]int32, len(columns))
		for i, b := range columns {
			tokens[i] = int32(b)%int32(len(genes)+1) - 1 // those that a match gives
		}
		request := map[string]any{
			"model": model, "first_row": 0, "seed": seed, "threads": int(choices % 3),
			"matrix":     matrixOf(t, kind, dtype, nCells, nGenes, cellStride, geneStride, data, indices, indptr),
			"tokens":     borrowed(t, "int32", tokens...),
			"fill":       []string{"auto", "shared", "independent", "expected", "none"}[choices%5],
			"expression": []string{"auto", "counts", "log1p"}[choices%3],
			"share":      zeros[float32](t, "float32", nCells),
		}
		_, planned := done(t, "plan", map[string]any{"model": model, "tokens": request["tokens"], "fill": request["fill"]})
		size := len(data) + len(indices) + len(indptr) + len(columns)
		within(t, 64<<20, 1000, size, func() {
			if _, err := done(t, "survey", request); err == nil && planned != nil {
				t.Fatalf("a survey without a plan: %v", planned)
			}
		})
		indicesOut, lengths := zeros[int32](t, "int32", product(nCells, length)), zeros[int32](t, "int32", nCells)
		request["length"] = length
		request["gene_indices"], request["lengths"] = indicesOut, lengths
		request["expression_values"] = zeros[float32](t, "float32", product(nCells, length))
		request["multiplicity"] = zeros[float32](t, "float32", product(nCells, length))
		within(t, 64<<20, 1000, size, func() { _, err = done(t, "tokenize", request) })
		if err != nil {
			return
		}
		checkSentences(t, request, nCells, length, v.CLS())
	})
}

// checkSentences makes sure that sentences are what the model takes.
func checkSentences(t *testing.T, request map[string]any, nCells, length int, cls int32) {
	t.Helper()
	tokens, _ := slice[int32](request["gene_indices"].(array))
	lengths, _ := slice[int32](request["lengths"].(array))
	values, _ := slice[float32](request["expression_values"].(array))
	multiplicity, _ := slice[float32](request["multiplicity"].(array))
	for cell := range nCells {
		n := int(lengths[cell])
		if n < 1 || n > length {
			t.Fatalf("cell %d has %d slots of %d", cell, n, length)
		}
		for slot := range length {
			at := cell*length + slot
			token, value, times := tokens[at], values[at], multiplicity[at]
			if token < 0 || token > cls || (slot == 0 || slot >= n) != (token == cls) {
				t.Fatalf("cell %d, slot %d of %d: token %d", cell, slot, n, token)
			}
			if math.IsNaN(float64(value)) || value < 0 || value > 100 {
				t.Fatalf("cell %d, slot %d of %d: value %v", cell, slot, n, value)
			}
			if (slot < n) != (times > 0) || math.IsInf(float64(times), 0) || math.IsNaN(float64(times)) {
				t.Fatalf("cell %d, slot %d of %d: multiplicity %v", cell, slot, n, times)
			}
		}
	}
}

// addCells adds matrices as they should be, and as they should not.
func addCells(f *testing.F) {
	f.Helper()
	floats := []byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 0, 0, 0, 0, 160, 64, 0, 0, 192, 64} // 1 2 3 0 5 6
	zeroOneTwo := []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}
	pointers := func(ends ...uint8) (b []byte) {
		for _, end := range ends {
			b = append(b, end, 0, 0, 0, 0, 0, 0, 0)
		}
		return b
	}
	columns := []byte{1, 2, 3}
	add := func(kind, dtype uint8, nCells, nGenes, cellStride, geneStride, length int, data, indices, indptr []byte) {
		f.Add(kind, dtype, nCells, nGenes, cellStride, geneStride, length, data, indices, indptr, columns, uint8(8), uint8(1), uint8(3), uint64(0))
	}
	add(0, 0, 2, 3, 3, 1, 4, floats, nil, nil)
	add(0, 0, 2, 3, 1, 2, 4, floats, nil, nil)                                              // columns first
	add(0, 0, 2, 3, 0, 0, 4, floats, nil, nil)                                              // one value for all
	add(0, 0, math.MaxInt, 3, 3, 1, 4, floats, nil, nil)                                    // more cells than memory
	add(0, 0, 1<<62, 3, 4, 0, 4, floats, nil, nil)                                          // strides that overflow to 0
	add(0, 0, 1<<62, 0, 0, 0, 4, nil, nil, nil)                                             // cells without genes
	add(0, 0, 4, 3, 3, 1, 1<<62, floats, nil, nil)                                          // sentences that overflow to nothing
	add(0, 0, -2, 3, 3, 1, 4, floats, nil, nil)                                             // less than none
	add(0, 0, 2, 3, -3, 1, 4, floats, nil, nil)                                             // backwards
	add(2, 0, 1, 3, 0, 0, 4, floats[:12], zeroOneTwo, pointers(0, 3))                       // CSR
	add(2, 0, 1, 3, 0, 0, 4, floats[:12], zeroOneTwo[4:], pointers(0, 3))                   // an index less
	add(2, 0, 1, 2, 0, 0, 4, floats[:12], zeroOneTwo, pointers(0, 3))                       // a gene past the end
	add(2, 0, 1, 3, 0, 0, 4, floats[:12], bytes.Repeat(zeroOneTwo[4:8], 3), pointers(0, 3)) // one gene three times
	add(2, 0, 2, 3, 0, 0, 4, floats[:12], zeroOneTwo, pointers(0, 3, 1))                    // back
	add(2, 0, 1, 3, 0, 0, 4, floats[:12], zeroOneTwo, pointers(0, 200))                     // past the end
	add(2, 0, math.MaxInt, 3, 0, 0, 4, floats[:12], zeroOneTwo, pointers(0, 3))
	add(1, 1, 1, 3, 0, 0, 4, pointers(0), pointers(2), pointers(0, 1)) // float64, int64
	nan := []byte{0, 0, 192, 127, 0, 0, 128, 127, 255, 255, 127, 127}
	add(0, 0, 1, 3, 3, 1, 4, nan, nil, nil)
	add(0, 0, 1, 3, 3, 1, 4, bytes.Repeat(nan[8:], 3), nil, nil)      // sums that are too large
	add(0, 9, 1, 3, 3, 1, 4, bytes.Repeat([]byte{255}, 24), nil, nil) // uint64
	add(0, 10, 1, 3, 3, 1, 4, floats, nil, nil)                       // complex
}

// FuzzNeighbors searches rows of any bytes and sizes, and has what was found vote.
func FuzzNeighbors(f *testing.F) {
	rows := []byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 0, 0, 0, 0, 160, 64, 0, 0, 192, 64}
	f.Add(2, 2, 2, 1, rows, rows, []byte{0, 1, 1}, 2, uint8(0))
	f.Add(1<<62, 4, 4, 0, rows, rows, []byte{0, 1, 1}, 2, uint8(1))            // results that overflow to nothing
	f.Add(1, math.MaxInt, 2, 0, rows, rows, []byte{0}, 2, uint8(0))            // rows wider than memory
	f.Add(1, 0, 0, 0, rows, rows, []byte{0}, 2, uint8(0))                      // no width
	f.Add(1, 1, 1, 1<<40, rows, rows, []byte{0}, 2, uint8(0))                  // threads
	f.Add(1, 1, 1, 1, rows, rows, []byte{0, 0, 0, 0, 0, 0}, 1<<60, uint8(0))   // labels
	f.Add(9, 3, 3, 1, rows, rows, []byte{255, 254}, 2, uint8(1))               // more than there are
	f.Add(1, 1, 1, 1, []byte{0, 0, 192, 127}, rows, []byte{0, 1}, 2, uint8(0)) // NaN
	f.Fuzz(func(t *testing.T, k, width, referenceWidth, threads int, queries, reference, labels []byte, nLabels int, choices uint8) {
		rowsOf := func(content []byte, width int) (rowsRequest, int) {
			values := lent(t, content, "float32", 4)
			n := values.Length / max(width, 1)
			numbers := make([]int64, n)
			for i := range numbers {
				numbers[i] = int64(i)
			}
			return rowsRequest{Values: values, Width: width, Numbers: borrowed(t, "int64", numbers...)}, n
		}
		q, n := rowsOf(queries, width)
		r, nReference := rowsOf(reference, referenceWidth)
		indices := zeros[int64](t, "int64", product(n, k))
		distances := zeros[float64](t, "float64", product(n, k))
		found, _ := slice[int64](indices)
		away, _ := slice[float64](distances)
		for i := range found {
			found[i], away[i] = -1, math.Inf(1)
		}
		var err error
		// Each query has room for 512 rows that are open.
		within(t, 64<<20, 1<<15, len(queries)+len(reference), func() {
			_, err = done(t, "nearest", map[string]any{
				"queries": q, "reference": r, "k": k, "leave_out_self": choices&1 > 0, "threads": threads, "indices": indices, "distances": distances,
			})
		})
		if err == nil {
			for i, row := range found {
				if row < -1 || row >= int64(nReference) || !(away[i] >= 0) || row >= 0 && away[i] > 2 {
					t.Fatalf("neighbour %d of %d at %v", row, nReference, away[i])
				}
			}
		}
		of := make([]int32, len(labels))
		for i, b := range labels {
			of[i] = int32(int8(b))
		}
		winners, confidence := zeros[int32](t, "int32", n), zeros[float32](t, "float32", n)
		within(t, 256<<20, 1000, len(labels), func() {
			_, err = done(t, "vote", map[string]any{
				"indices": indices, "distances": distances, "labels": borrowed(t, "int32", of...), "n_labels": nLabels,
				"weights": []string{"uniform", "similarity", ""}[choices%3], "winners": winners, "confidence": confidence,
			})
		})
		if err != nil {
			return
		}
		won, _ := slice[int32](winners)
		shares, _ := slice[float32](confidence)
		for i, label := range won {
			if label < -1 || int(label) >= nLabels || !(shares[i] >= 0 && shares[i] <= 1) {
				t.Fatalf("label %d of %d with confidence %v", label, nLabels, shares[i])
			}
		}
	})
}

// FuzzGenes matches any names with a vocabulary, and finds them one by one.
func FuzzGenes(f *testing.F) {
	genes := []string{"CD3D", "CD8A", "CD8B", "HLA-A", "LYZ", "MS4A1", "NKX2-1", "SEPTIN6"}
	v, err := vocabulary.New(genes)
	if err != nil {
		f.Fatal(err)
	}
	model := models.add(&embed.Model{Config: &modeldir.Config{Name: "fuzzed"}, Vocabulary: v})
	v.MatchBest([]vocabulary.Column{{Genes: []string{"ENSG00000167286", "Cd20", "x"}}}) // reads the tables of names
	f.Add("CD3D\nLYZ\nMS4A1", "", uint8(1), 0.5)
	f.Add("ENSG00000167286.9\nENSMUSG00000032094\nENSG00000999999", "", uint8(1), 0.0)
	f.Add("CD3D\nCD3D-1\nCD3D_2\nHLA.A\nhla-a", "CD3D\nCD8", uint8(1), 1.0)
	f.Add("cd3d\nlyz\nCD20\nCD8\nSEPT6\n6-Sep\nSep-06", "", uint8(1), 0.9)
	f.Add("a\nb\nc\nd", "", uint8(2), 0.1)
	f.Add("\n\n\n", "\n", uint8(1), math.NaN())
	f.Add("GRCh38_CD3D\nGRCh38_LYZ\nhg19_MS4A1", "", uint8(1), 2.0)
	f.Add("\xff\xfe\x00\n\u200bCD3D\nСD3D", "\x00", uint8(3), -1.0)
	f.Add(strings.Repeat("A", 5000)+"\n"+strings.Repeat("-1", 2000), "", uint8(1), 0.0)
	f.Fuzz(func(t *testing.T, names, others string, nColumns uint8, minimum float64) {
		if math.IsNaN(minimum) || math.IsInf(minimum, 0) {
			minimum = 0 // JSON has none
		}
		n := strings.Count(names, "\n") + 1
		columns := slices.Repeat([]string{"a column"}, int(nColumns))
		nGenes := n / max(len(columns), 1)
		tokens, repairs, first := zeros[int32](t, "int32", nGenes), zeros[int32](t, "int32", nGenes), zeros[int32](t, "int32", nGenes)
		request, err := toJSON(map[string]any{
			"columns": columns, "targets": columns, "minimum": minimum, "tokens": tokens, "repair_of": repairs, "first_of": first,
			"left_out": zeros[uint8](t, "uint8", nGenes), "names": lent(t, []byte(names), "uint8", 1), "others": lent(t, []byte(others), "uint8", 1),
		})
		if err != nil {
			t.Fatal(err)
		}
		var report string
		within(t, 64<<20, 20_000, len(names)+len(others), func() { report, err = MatchGenes(model, request) })
		unharmed(t, err)
		if err == nil {
			checkMatch(t, report, tokens, repairs, first)
		}
		found := zeros[int32](t, "int32", n)
		request, err = toJSON(map[string]any{"names": lent(t, []byte(names), "uint8", 1), "tokens": found})
		if err != nil {
			t.Fatal(err)
		}
		within(t, 64<<20, 20_000, len(names), func() { _, err = FindGenes(model, request) })
		unharmed(t, err)
		if err != nil {
			return
		}
		each, _ := slice[int32](found)
		for i, name := range strings.Split(names, "\n") {
			if token := each[i]; token < -1 || int(token) >= len(genes) || slices.Index(genes, name) >= 0 && genes[token] != name {
				t.Fatalf("%q has token %d", name, token)
			}
		}
	})
}

// checkMatch makes sure that a match names what is there.
func checkMatch(t *testing.T, report string, tokens, repairs, first array) {
	t.Helper()
	var r struct {
		NMatched int `json:"n_matched"`
		Repairs  []any
	}
	if err := json.Unmarshal([]byte(report), &r); err != nil {
		t.Fatal(err)
	}
	matched, _ := slice[int32](tokens)
	repairOf, _ := slice[int32](repairs)
	firstOf, _ := slice[int32](first)
	n := 0
	for i, token := range matched {
		if token >= 0 {
			n++
		}
		if token < -1 || token > 7 || repairOf[i] < -1 || int(repairOf[i]) >= len(r.Repairs) || firstOf[i] < 0 || int(firstOf[i]) >= len(matched) {
			t.Fatalf("gene %d: token %d, repair %d, first %d: %s", i, token, repairOf[i], firstOf[i], report)
		}
	}
	if n != r.NMatched {
		t.Fatalf("%d tokens: %s", n, report)
	}
}

// Package sentence turns one cell's expression into a cell sentence: [CLS] and
// up to padLength-1 genes, highest expression first.
//
// A sentence is two slices of one length S ≤ padLength: gene indices (int32,
// gene tokens; slot 0 is [CLS]) and expression values (float32, 100 × the
// gene's share of the cell's summed log1p values). Under [Expected] a third
// one, the multiplicity (float32), says how many equal tokens an entry stands
// for.
//
// A cell with fewer expressed genes than slots leaves some to be filled with
// unexpressed ones, and equal values may compete for the last slots. The
// reference settles both by unseeded draws; here a [Fill] policy does, and
// every draw is a hash of what it may depend on: the seed, the gene token and,
// for [Independent] alone, the cell's row. So a sentence never depends on
// batch size, thread count, other cells, or the order of the data set's genes,
// with one exception that is part of the trained behaviour: the [CLS] slot's
// value is that of the valid gene at a fixed position in the data set's order.
//
// A [Plan] holds what is the same for all cells of a data set, a [Worker] the
// scratch memory of one goroutine.
package sentence

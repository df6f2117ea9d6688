// Package batch gathers cell sentences into batches for execution.
//
// A batch is row-major memory for B sentences of one length S: gene indices
// (int32, [B, S]), expression values (float32, [B, S]) and, where asked for,
// multiplicities (float32, [B, S]; 0 marks padding). Sentences of different
// lengths go to different buckets, each padded to a length that follows from
// its own length alone: what a cell is padded to, and so its embedding, never
// depends on its neighbours.
//
// How many cells a batch holds follows from a token budget. Batches are handed
// back after use and filled anew, so memory does not grow with the data set.
package batch

// Package neighbors finds the nearest cells of cells by their embeddings, and
// carries labels over from labelled cells.
//
// Embeddings are rows, float32 [n, width], row-major. The distance is the
// cosine distance, 1 - q·r / (|q| |r|), from 0 to 2; to a row of zeros, which
// has no direction, it is 1. The search is exact: distances are computed in
// float64 from the float32 values, the nearest are the K smallest by distance
// and then by row, and neither the number of threads nor the sizes of blocks
// change a bit of them. Equal rows have distance 0 and equal distances to every
// other row, so that ties really are ties.
//
// Most of the work is a product of matrices in float32 (gonum), which only
// rules pairs out: what could be among the nearest within the product's
// rounding error (8e-6) is computed again in float64. Where all rows point the
// same way within that, nothing is ruled out, and a search takes some four times
// as long.
//
// Memory stays bounded, whatever the number of rows: one float64 norm a row, and
// for every thread one block of queries, with K candidates each, and of
// reference rows.
package neighbors

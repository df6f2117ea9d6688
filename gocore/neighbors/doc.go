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
// Most of the work is a product of matrices in float32, by ONNX Runtime if its
// library is loaded and by gonum if not. It only rules pairs out: what can be
// among the nearest within the product's rounding error is computed again in
// float64. Rows are brought to unit length and moved by a common centre first,
// which changes no distance between them, and makes the products and their
// errors small where all rows point in nearly the same direction.
//
// The reference may come in blocks ([Add]). Memory stays bounded, whatever the
// number of rows: copies of a few thousand queries and reference rows, and what
// every thread needs for one tile of products.
package neighbors

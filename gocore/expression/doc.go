// Package expression views a data set's expression matrix, cells × genes, as
// its owner holds it in memory: CSR or dense, any numeric element type,
// nothing copied but the cell being read.
//
// A [Matrix] is read one cell at a time into a [Row]: the expressed genes of
// the cell, in the order in which they are stored, with values rounded to
// float32. Reading makes a cell canonical: stored zeros are dropped, negative
// values become zero (the reference clips them, too) and are counted, and
// values stored twice for one gene are added. NaN and infinite values are an
// error that names the place; [Reader.NotFinite] tells all of them.
//
// [Scale] is the decision the model makes for every cell on its own: are these
// values raw counts, or log1p values already?
package expression

// Package embed is the pipeline from cells to embeddings.
//
// Workers tokenise cells ahead of execution, each into batches of its own; a
// bounded queue carries full batches to runners, which execute them and
// scatter the rows, L2-normalised, to their places in memory that the caller
// owns. A cell's row depends on nothing but the cell, the model, the data
// set's genes and the options: not on the batch it was in, nor on the number
// of threads.
package embed

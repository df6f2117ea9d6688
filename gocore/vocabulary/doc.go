// Package vocabulary knows a model's genes and finds a data set's genes among
// them.
//
// A gene token is an int32: the row of the gene in the checkpoint's own gene
// table, whose order is the vocabulary's order. [CLS] has the token NGenes,
// the dataset token NGenes + 1.
//
// A data set's genes are matched exactly, by symbol or by human Ensembl id.
// What is close, but not equal, is suggested and never taken.
package vocabulary

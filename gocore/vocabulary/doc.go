// Package vocabulary knows a model's genes and finds a data set's genes among
// them.
//
// A gene token is an int32: the row of the gene in the checkpoint's own gene
// table, whose order is the vocabulary's order. [CLS] has the token NGenes,
// the dataset token NGenes + 1.
//
// A data set's genes are matched by symbol, exactly, by human Ensembl id, or by
// another symbol of the same gene: HGNC has renamed thousands, and a model and a
// data set may be of different years. Nothing else is taken, not even a name
// with a blank behind it: what is close is suggested, and what many names have
// in common (a prefix, a suffix, points for hyphens) is recognised and told
// together with the line of pandas that repairs it.
package vocabulary

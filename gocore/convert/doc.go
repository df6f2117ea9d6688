// Package convert turns a checkpoint into a converted model directory (see
// package modeldir): tensors are checked against the configuration, the gene
// table is folded, the graphs are written.
//
// What is the same for every cell is computed here, once. A gene's token after
// the projection, SiLU(LayerNorm(Linear(row/|row|)))·sqrt(emsize), depends on
// the gene alone, so [n_genes + 2, emsize] tokens replace the table and the
// projection; the last two rows are [CLS] and the dataset token. Under the
// "scale" encoding expression comes before the LayerNorm, and only the
// product with the weights is folded. Since two tokens alone are read at the
// end, the last layer has two queries and the head runs on two tokens.
//
// Tensors stream from the checkpoint to the directory one at a time.
package convert

// Package modeldir is the contract of a converted model directory: its files,
// its graphs with their inputs and outputs, the forms that a graph may have,
// and what names a model. Whoever writes, reads or runs a model takes these
// names from here.
//
//	config.json          what the model is and where it came from ([Config])
//	genes.txt            the vocabulary, one gene symbol a line, in token order
//	weights.json         where each tensor of the graphs lies ([Index])
//	weights.bin          weights of the embedding graphs
//	source.bin           the gene table as it was, and its projection
//	decoder.bin          weights of the expression decoder, if there is one
//	gene_embeddings.bin  float32 [n_genes, emsize], little-endian, row-major: the
//	                     projection of each gene's row as it was, not normalised
//	                     and without the factor sqrt(emsize)
//	int8.json, int8.bin  the layers' weights once more, in 8 bits, with a scale
//	                     per channel; made when they are first needed
//	licence/             licence, notice and model card of the source
//
// Weights lie in external data files of ONNX. Graphs are not stored: package
// graph makes them, in the form that an execution provider wants, when they are
// opened.
//
// config.json is written last and the directory is renamed into place, so a
// directory that has one is whole.
package modeldir

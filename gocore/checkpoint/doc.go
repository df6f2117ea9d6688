// Package checkpoint reads State checkpoints: safetensors files and the zip
// files that torch writes (.ckpt, .pt), their configuration and their gene
// table.
//
// Files are data. A torch file holds a pickle, which is a program: it is
// interpreted here for the few operations that tensors and plain containers
// need, no callable ever runs, names outside an explicit list are refused, and
// everything else becomes an inert [Record].
//
// Nothing a file claims is believed: offsets, lengths and shapes are checked
// against its size before memory is taken. Tensors stay in the file until they
// are read, in pieces, as float32.
package checkpoint

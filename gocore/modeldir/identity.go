package modeldir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Contents has the SHA-256 of each tensor of a model as its source gives it, by
// name: of the values as float32, little-endian, whatever they are stored in.
// The gene table is [GeneTable].
type Contents map[string]string

// Identity names a model by what it computes: the SHA-256 over its dimensions,
// encoding and decoder inputs, its genes in their order and the content of its
// tensors. What the model is called, when, where and by which version it was
// converted, and how its graphs are put together, is not in it.
func (c *Config) Identity(genes []string, tensors Contents) string {
	sum := sha256.New()
	line := func(format string, values ...any) { _, _ = fmt.Fprintf(sum, format+"\n", values...) } // a hash takes everything
	d := c.Dimensions
	line("State model")
	line("n_genes %d token_dim %d emsize %d d_hid %d", d.NGenes, d.TokenDim, d.EmSize, d.DHid)
	line("nhead %d nlayers %d output_dim %d dataset_dim %d", d.NHead, d.NLayers, d.OutputDim, d.DatasetDim)
	line("pad_length %d cls_token_idx %d", d.PadLength, d.CLSTokenIdx)
	line("expression_encoding %s", c.ExpressionEncoding)
	if c.Decoder != nil {
		line("decoder read_depth %t dataset_dim %d", c.Decoder.ReadDepth, c.Decoder.DatasetDim)
	}
	for _, gene := range genes {
		line("gene %s", gene)
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		line("tensor %s %s", tensors[name], name)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

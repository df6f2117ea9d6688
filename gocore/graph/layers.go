package graph

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/se600m/se600m-go/gocore/modeldir"
	"github.com/se600m/se600m-go/gocore/onnx"
)

// ErrLayers: weights in an element type can't be written beside a model's.
var ErrLayers = errors.New("weights can't be written")

// making lets one goroutine make weights that several want.
var making sync.Mutex

// int8Layers are the layers' weights in 8 bits, which are made where they are
// missing or not whole. Processes that do so at once write the same.
func int8Layers(dir string, config *modeldir.Config, from modeldir.Weights) (modeldir.Weights, error) {
	making.Lock()
	defer making.Unlock()
	if layers, err := modeldir.ReadIndex(dir, modeldir.Int8, config); err == nil {
		return layers, nil
	}
	draft, err := os.MkdirTemp(dir, ".int8.unfinished-*")
	if err != nil {
		return nil, cannotWrite(dir, err)
	}
	// Once the files are in their place nothing but the folder is left.
	defer func() { _ = os.RemoveAll(draft) }()
	index, err := writeInt8(dir, draft, config, from)
	if err != nil {
		return nil, err
	}
	// The index last: where it is, the weights are.
	for _, name := range []string{modeldir.Int8.LayersFile(), modeldir.Int8.IndexFile()} {
		if err := os.Rename(filepath.Join(draft, name), filepath.Join(dir, name)); err != nil {
			return nil, cannotWrite(dir, err)
		}
	}
	return index.Weights, nil
}

func cannotWrite(dir string, err error) error {
	return fmt.Errorf("model directory %q: weights in int8 are made when they are first used, but can't be written there: %w: "+
		"open the model once with precision=\"int8\" as a user who may write there, or convert the checkpoint into your own folder: %w",
		dir, err, ErrLayers)
}

// writeInt8 writes the weights of all layers in 8 bits, and where they lie, into
// a draft.
func writeInt8(dir, draft string, config *modeldir.Config, from modeldir.Weights) (index modeldir.Index, err error) {
	index = modeldir.Index{Checksum: config.Checksum, Files: map[string]modeldir.FileInfo{}, Weights: modeldir.Weights{}}
	out, err := onnx.CreateWeights(filepath.Join(draft, modeldir.Int8.LayersFile()))
	if err != nil {
		return index, cannotWrite(dir, err)
	}
	for i := range config.Dimensions.NLayers {
		for _, name := range modeldir.LayerProducts(i) {
			if err := putInt8(dir, out, name, from[name], index.Weights); err != nil {
				out.Abort()
				return index, err
			}
		}
	}
	var info modeldir.FileInfo
	if info.Size, info.SHA256, err = out.Close(); err != nil {
		return index, cannotWrite(dir, err)
	}
	index.Files[modeldir.Int8.LayersFile()] = info
	return index, modeldir.WriteIndex(draft, modeldir.Int8, index)
}

// putInt8 puts a Linear layer's weight, [in, out], in 8 bits, with a scale per
// output channel, [out].
func putInt8(dir string, out *onnx.WeightsWriter, name string, w modeldir.Weight, placed modeldir.Weights) error {
	if len(w.Shape) != 2 || w.Size() == 0 {
		return fmt.Errorf("model directory %q: tensor %q has shape %v, but must have two dimensions: %w", dir, name, w.Shape, modeldir.ErrNotAModel)
	}
	values, err := w.Read(dir)
	if err != nil {
		return err
	}
	whole, scales := quantise(values, w.Shape[1])
	at, err := out.Int8(whole)
	if err != nil {
		return cannotWrite(dir, err)
	}
	placed[name+int8Suffix] = modeldir.Weight{File: at.File, Element: modeldir.Int8, Shape: w.Shape, Offset: at.Offset}
	if at, err = out.Tensor(scales); err != nil {
		return cannotWrite(dir, err)
	}
	placed[name+scaleSuffix] = modeldir.Weight{File: at.File, Element: modeldir.Float32, Shape: w.Shape[1:], Offset: at.Offset}
	return nil
}

// quantise rounds every column to whole numbers from -127 to 127 times a scale.
func quantise(values []float32, columns int) (whole []int8, scales []float32) {
	whole, scales = make([]int8, len(values)), make([]float32, columns)
	largest := make([]float32, columns)
	for row := range slices.Chunk(values, columns) {
		for c, v := range row {
			largest[c] = max(largest[c], v, -v)
		}
	}
	for c, v := range largest {
		scales[c] = v / maxInt8
	}
	for r := 0; r < len(values); r += columns {
		for c, most := range largest {
			if most > 0 { // else whole numbers of 0 with a scale of 0
				whole[r+c] = int8(math.RoundToEven(float64(values[r+c]) / float64(most) * maxInt8))
			}
		}
	}
	return whole, scales
}

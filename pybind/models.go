package pybind

import (
	"strings"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/modeldir"
)

var models = handles[*embed.Model]{what: "model"}

// FormatVersion is the format of the model directories that this core writes
// and reads.
func FormatVersion() int64 { return modeldir.FormatVersion }

// OpenModel opens a converted model directory on a device, or on several with
// commas between them, in a precision.
func OpenModel(dir, devices, precision string) (handle int64, err error) {
	defer export(&err)
	m, err := embed.Open(dir, devices, precision)
	if err != nil {
		return 0, err
	}
	return models.add(m), nil
}

// CloseModel frees a model, once nothing uses it any more.
func CloseModel(handle int64) (unused int64, err error) {
	defer export(&err)
	m, err := models.take(handle)
	if err != nil {
		return 0, err
	}
	return 0, m.Close()
}

// DescribeModel tells what a model is: its config, device, checksum and stages.
func DescribeModel(handle int64) (description string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	type stage struct {
		Name        string `json:"name"`
		WithDataset bool   `json:"with_dataset"`
		Width       int    `json:"width"`
	}
	var stages []stage
	for _, s := range m.Config.Stages() { // [batch, slots or tokens, width]
		stages = append(stages, stage{s.Name, s.Shape[1] == modeldir.WithDataset, s.Shape[2].Size})
	}
	return toJSON(map[string]any{
		"config": m.Config, "device": m.Device(), "precision": m.Precision(), "checksum": m.Config.Checksum, "stages": stages,
	})
}

// ModelGenes are a model's gene symbols in token order, a line each.
func ModelGenes(handle int64) (genes string, err error) {
	defer export(&err)
	m, err := models.get(handle)
	if err != nil {
		return "", err
	}
	return strings.Join(m.Vocabulary.Genes(), "\n"), nil
}

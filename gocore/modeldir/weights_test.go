package modeldir_test

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

func TestIndexAndWeights(t *testing.T) {
	dir, config := newModel(t)
	values := []float32{1.5, -2, 3, 4}
	content := "skip"
	for _, v := range values {
		bits := math.Float32bits(v)
		content += string([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
	}
	write(t, filepath.Join(dir, "w.bin"), content)
	want := modeldir.Weights{
		"w":         {File: "w.bin", Element: modeldir.Float32, Shape: []int{2, 2}, Offset: 4},
		"past":      {File: "w.bin", Element: modeldir.Float32, Shape: []int{2, 2}, Offset: 5},
		"huge":      {File: "w.bin", Element: modeldir.Float32, Shape: []int{1 << 40, 1 << 40}},
		"before":    {File: "w.bin", Element: modeldir.Float32, Shape: []int{1}, Offset: -4},
		"negative":  {File: "w.bin", Element: modeldir.Float32, Shape: []int{-1}},
		"in 8 bits": {File: "w.bin", Element: modeldir.Int8, Shape: []int{4}},
		"nowhere":   {File: "v.bin", Element: modeldir.Float32, Shape: []int{1}},
	}
	if err := modeldir.WriteIndex(dir, modeldir.Float32, modeldir.Index{Weights: want}); err != nil {
		t.Fatal(err)
	}
	got, err := modeldir.ReadIndex(dir, modeldir.Float32, config)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, w := range got {
		read, err := w.Read(dir)
		switch {
		case name == "w" && (err != nil || !slices.Equal(read, values)):
			t.Errorf("got %v, %v; want %v", read, err, values)
		case name != "w" && !errors.Is(err, modeldir.ErrNotAModel):
			t.Errorf("%s: got %v, %v", name, read, err)
		}
	}
}

func TestRefusedIndices(t *testing.T) {
	for name, c := range map[string]struct {
		index modeldir.Index
		says  string
	}{
		"of another model":   {modeldir.Index{Checksum: "other"}, "another model"},
		"a file elsewhere":   {modeldir.Index{Files: map[string]modeldir.FileInfo{"../x": {}}}, "outside the directory"},
		"a file is missing":  {modeldir.Index{Files: map[string]modeldir.FileInfo{"x.bin": {}}}, "x.bin"},
		"a file was cut off": {modeldir.Index{Files: map[string]modeldir.FileInfo{"weights.bin": {Size: 99}}}, "instead of 99"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, config := newModel(t)
			if err := modeldir.WriteIndex(dir, modeldir.Int8, c.index); err != nil {
				t.Fatal(err)
			}
			_, err := modeldir.ReadIndex(dir, modeldir.Int8, config)
			if !errors.Is(err, modeldir.ErrNotAModel) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("not the one that was written", func(t *testing.T) {
		dir, config := newModel(t)
		if err := modeldir.WriteIndex(dir, modeldir.Float32, modeldir.Index{}); err != nil {
			t.Fatal(err)
		}
		config.Files["weights.json"] = modeldir.FileInfo{Size: 14, SHA256: "00"}
		if _, err := modeldir.ReadIndex(dir, modeldir.Float32, config); !errors.Is(err, modeldir.ErrNotAModel) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("none", func(t *testing.T) {
		dir, config := newModel(t)
		if _, err := modeldir.ReadIndex(dir, modeldir.Float32, config); !errors.Is(err, modeldir.ErrNotAModel) {
			t.Errorf("got %v", err)
		}
	})
}

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
	want := modeldir.Weights{"w": {File: "w.bin", Element: modeldir.Float32, Shape: []int{2, 2}, Offset: 4}}
	if err := modeldir.WriteIndex(dir, modeldir.Float32, modeldir.Index{Weights: want}); err != nil {
		t.Fatal(err)
	}
	got, err := modeldir.ReadIndex(dir, modeldir.Float32, config)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v", got, err)
	}
	read, err := got["w"].Read(dir)
	if err != nil || !slices.Equal(read, values) {
		t.Errorf("got %v, %v; want %v", read, err, values)
	}
	link(t, "/dev/zero", filepath.Join(dir, "zero.bin"))
	for name, w := range map[string]modeldir.Weight{
		"past the end":      {File: "w.bin", Element: modeldir.Float32, Shape: []int{2, 2}, Offset: 5},
		"huge":              {File: "w.bin", Element: modeldir.Float32, Shape: []int{1 << 40, 1 << 40}},
		"at 2^63":           {File: "w.bin", Element: modeldir.Float32, Shape: []int{2, 2}, Offset: math.MaxInt64},
		"before the file":   {File: "w.bin", Element: modeldir.Float32, Shape: []int{1}, Offset: -4},
		"a negative size":   {File: "w.bin", Element: modeldir.Float32, Shape: []int{-1}},
		"in 8 bits":         {File: "w.bin", Element: modeldir.Int8, Shape: []int{4}},
		"in no type":        {File: "w.bin", Element: "float128", Shape: []int{1}},
		"nowhere":           {File: "v.bin", Element: modeldir.Float32, Shape: []int{1}},
		"without a file":    {Element: modeldir.Float32, Shape: []int{0}},
		"in the directory":  {File: ".", Element: modeldir.Float32, Shape: []int{0}},
		"above it":          {File: "../w.bin", Element: modeldir.Float32, Shape: []int{0}},
		"back in it":        {File: "../" + filepath.Base(dir) + "/w.bin", Element: modeldir.Float32, Shape: []int{0}},
		"by absolute path":  {File: filepath.Join(dir, "w.bin"), Element: modeldir.Float32, Shape: []int{0}},
		"by a link outside": {File: "zero.bin", Element: modeldir.Float32, Shape: []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			if read, err := w.Read(dir); !errors.Is(err, modeldir.ErrNotAModel) {
				t.Errorf("read %v, %v", read, err)
			}
			index := modeldir.Index{Weights: modeldir.Weights{"good": want["w"], "bad": w}}
			if err := modeldir.WriteIndex(dir, modeldir.Float32, index); err != nil {
				t.Fatal(err)
			}
			got, err := modeldir.ReadIndex(dir, modeldir.Float32, config)
			if !errors.Is(err, modeldir.ErrNotAModel) || !strings.Contains(err.Error(), `weights.json: tensor "bad"`) {
				t.Errorf("got %v, %v", got, err)
			}
		})
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

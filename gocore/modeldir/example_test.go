package modeldir_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// A directory without weights, for the sake of brevity.
func ExampleRead() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	genes := filepath.Join(dir, modeldir.GenesFile)
	if err := os.WriteFile(genes, []byte("CD3D\nLYZ\n"), 0o644); err != nil {
		panic(err)
	}
	info, err := modeldir.Describe(genes)
	if err != nil {
		panic(err)
	}
	err = modeldir.Write(dir, &modeldir.Config{
		FormatVersion: modeldir.FormatVersion, Name: "tiny", ExpressionEncoding: modeldir.SoftBins,
		Dimensions: modeldir.Dimensions{NGenes: 2, TokenDim: 8, EmSize: 8, DHid: 8, NHead: 2, NLayers: 1, OutputDim: 8, PadLength: 16},
		Files:      map[string]modeldir.FileInfo{modeldir.GenesFile: info},
	})
	if err != nil {
		panic(err)
	}

	config, symbols, err := modeldir.Read(dir)
	if err != nil {
		panic(err)
	}
	fmt.Println(config.Name, symbols, config.Dimensions.NHead)
	// Output: tiny [CD3D LYZ] 2
}

package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/internal/statetest"
)

func TestReadTorch(t *testing.T) {
	file := statetest.Torch(statetest.DictOf(
		"epoch", 16, "lr", 1e-3, "done", true, "none", nil,
		"betas", statetest.Tuple{0.9, 0.999},
		"state_dict", statetest.DictOf("w", statetest.Float32([]float32{1, 2}, 2)),
	))
	value, err := readTorch(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	top := value.(*Dict)
	for key, want := range map[string]any{"epoch": int64(16), "lr": 1e-3, "done": true, "none": nil} {
		if got, has := top.Get(key); !has || got != want {
			t.Errorf("%s: %v, %v; want %v", key, got, has, want)
		}
	}
	if _, has := top.Get("other"); has {
		t.Error("a key that is not there is found")
	}
	state, _ := top.Get("state_dict")
	w, _ := state.(*Dict).Get("w")
	got := make([]float32, 2)
	if err := w.(*Tensor).ReadFloat32(got, 0); err != nil || got[0] != 1 || got[1] != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRefusedTorchFiles(t *testing.T) {
	const (
		storageOf = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
		rebuild   = "ctorch._utils\n_rebuild_tensor_v2\n("
	)
	four := make([]byte, 16)
	compressed := func() []byte {
		var out bytes.Buffer
		archive := zip.NewWriter(&out)
		w, err := archive.Create("archive/data.pkl")
		if err == nil {
			_, err = w.Write([]byte("N."))
		}
		if err = errors.Join(err, archive.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}()
	whole := statetest.Torch(statetest.Float32([]float32{1, 2, 3, 4}, 4))
	for _, c := range []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"empty", nil, ErrMalformed, "the file is truncated, or torch.save did not write it"},
		{"text", []byte("hello, world"), ErrMalformed, "truncated"},
		{"cut off", whole[:len(whole)/2], ErrMalformed, "truncated"},
		{"before torch 1.6", []byte("\x80\x02\x8a\x0a"), ErrUnsupported, "torch before 1.6"},
		{"another zip", statetest.Zip("word/document.xml", "x"), ErrMalformed, "no data.pkl among 1 entries"},
		{"an entry twice", statetest.Zip("a/data.pkl", "N.", "a/data.pkl", "N."), ErrMalformed, `"a/data.pkl" occurs twice`},
		{"compressed", compressed, ErrUnsupported, "compressed"},
		{"big-endian", statetest.Zip("a/data.pkl", "N.", "a/byteorder", "big"), ErrUnsupported, `byte order "big"`},
		{"storage is missing", statetest.TorchZip(rebuild + storageOf), ErrMalformed, `storage "0"`},
		{"storage too short", statetest.TorchZip(rebuild+storageOf, four[:15]), ErrMalformed, "4 elements of float32 in 15 bytes"},
		{"storage of no class", statetest.TorchZip(strings.Replace(rebuild+storageOf, "FloatStorage", "Tensor", 1), four), ErrMalformed, "torch.Tensor"},
		{"id of something else", statetest.TorchZip("K\x01Q."), ErrMalformed, "a persistent id that is not a storage"},
		{"view past the end", statetest.TorchZip(rebuild+storageOf+"K\x01K\x04\x85K\x01\x85tR.", four), ErrMalformed, "element 4 in a storage of 4"},
		{"stride past the end", statetest.TorchZip(rebuild+storageOf+"K\x00K\x02\x85K\x04\x85tR.", four), ErrMalformed, "element 4 in a storage of 4"},
		{"expanded to more", statetest.TorchZip(rebuild+storageOf+"K\x00M\x00\x10\x85K\x00\x85tR.", four), ErrMalformed, "4096 elements in a storage of 4"},
		{"negative offset", statetest.TorchZip(rebuild+storageOf+"J\xff\xff\xff\xffK\x04\x85K\x01\x85tR.", four), ErrMalformed, "no sound shape"},
		{"negative dimension", statetest.TorchZip(rebuild+storageOf+"K\x00J\xff\xff\xff\xff\x85K\x01\x85tR.", four), ErrMalformed, "no sound shape"},
		{"more strides than dimensions", statetest.TorchZip(rebuild+storageOf+"K\x00K\x04\x85K\x01K\x01\x86tR.", four), ErrMalformed, "no sound shape"},
		{
			"product overflows",
			statetest.TorchZip(rebuild+storageOf+"K\x00J\x00\x00\x00\x40J\x00\x00\x00\x40\x86K\x00K\x00\x86tR.", four), ErrMalformed, "1073741824",
		},
		{
			"strides overflow",
			statetest.TorchZip(rebuild+storageOf+"K\x00K\x04K\x01\x86\x8a\x06\x00\x00\x00\x00\x00\x01K\x01\x86tR.", four), ErrMalformed, "strides out of range",
		},
		{
			"their sum overflows to nothing", // 2^25 times 2^39
			statetest.TorchZip(rebuild+storageOf+"K\x00J\x01\x00\x00\x02\x85\x8a\x06\x00\x00\x00\x00\x80\x00\x85tR.", four), ErrMalformed, "strides out of range",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readTorch(bytes.NewReader(c.file), int64(len(c.file)))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %v saying %q", err, c.want, c.says)
			}
		})
	}
}

func TestParametersAndUntypedStorages(t *testing.T) {
	// torch.nn.Parameter of a tensor over an untyped storage of bytes.
	const program = "ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n(" +
		"(X\x07\x00\x00\x00storagectorch.storage\nUntypedStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ" +
		"K\x01K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR\x88ccollections\nOrderedDict\n)RtR."
	file := statetest.TorchZip(program, []byte{1, 2, 3, 4})
	value, err := readTorch(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	tensor, is := value.(*Tensor)
	if !is || tensor.DType.Name != "uint8" || tensor.NumElements() != 2 {
		t.Errorf("got %#v", value)
	}
}

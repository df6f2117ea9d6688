//go:build cgo

package nvidia_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/nvidia"
)

// told is what a process of its own was told by a driver: a process opens one.
type told struct {
	Driver      nvidia.Driver
	Error       string
	IsErrDriver bool
	Free, Total []uint64
	FreeError   string
}

const child = "SE600M_TEST_DRIVER"

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	var t told
	var err error
	if path := os.Getenv("SE600M_TEST_LOAD"); path != "" {
		if err := nvidia.Load([]string{path}); err != nil {
			panic(err)
		}
	}
	for range 2 { // asking again changes nothing
		t.Driver, err = nvidia.Query()
	}
	if err != nil {
		t.Error, t.IsErrDriver = err.Error(), errors.Is(err, nvidia.ErrDriver)
	}
	for number := range len(t.Driver.Devices) + 1 {
		free, total, err := nvidia.FreeMemory(number)
		if err != nil {
			t.FreeError = err.Error()
			break
		}
		t.Free, t.Total = append(t.Free, free), append(t.Total, total)
	}
	text, _ := json.Marshal(t)
	fmt.Println(string(text))
}

// compile makes a shared library of one C file.
func compile(t *testing.T, source, library string, options ...string) {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc: it makes stand-ins for NVIDIA's libraries")
	}
	arguments := append([]string{"-shared", "-fPIC", "-o", library, "-Wl,-soname," + filepath.Base(library), source}, options...)
	if out, err := exec.Command(compiler, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// ask asks the driver in a folder, or that of this machine.
func ask(t *testing.T, folder string, environment ...string) (answer told) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(append(os.Environ(), child+"=1", "LD_LIBRARY_PATH="+folder), environment...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return answer
}

func TestDevices(t *testing.T) {
	folder := t.TempDir()
	compile(t, "testdata/libcuda.c", filepath.Join(folder, "libcuda.so.1"))
	for _, n := range []int{1, 4} {
		got := ask(t, folder, fmt.Sprintf("STANDIN_DEVICES=%d", n))
		if got.Error != "" || got.Driver.Version != 13010 || len(got.Driver.Devices) != n {
			t.Fatalf("%d devices: %+v", n, got)
		}
		for i, device := range got.Driver.Devices {
			want := nvidia.Device{Number: i, Name: fmt.Sprintf("Stand-in %d", i), Memory: 80<<30 + uint64(i), Major: 9, Minor: i}
			if device != want {
				t.Errorf("device %d: %+v", i, device)
			}
			if got.Free[i] != 70<<30+uint64(i) || got.Total[i] != 79<<30+uint64(i) {
				t.Errorf("device %d: %d of %d bytes are free", i, got.Free[i], got.Total[i])
			}
		}
		if want := fmt.Sprintf("cuDeviceGet for device %d failed with error 101", n); len(got.Free) != n || !strings.Contains(got.FreeError, want) {
			t.Errorf("one too many: %q", got.FreeError)
		}
	}
}

func TestDriversThatCannotBeUsed(t *testing.T) {
	folder := t.TempDir()
	compile(t, "testdata/libcuda.c", filepath.Join(folder, "libcuda.so.1"))
	for setting, parts := range map[string][]string{
		"STANDIN_DEVICES=0":     {"cuDeviceGetCount", "no NVIDIA GPU", "CUDA_VISIBLE_DEVICES"},
		"STANDIN_INIT=100":      {"cuInit failed with error 100, no CUDA-capable device is detected", "CUDA_VISIBLE_DEVICES"},
		"STANDIN_INIT=35":       {"error 35", "release 580"},
		"STANDIN_INIT=802":      {"error 802", "nvidia-fabricmanager"},
		"STANDIN_INIT=803":      {"error 803", "restart the machine"},
		"STANDIN_INIT=12345":    {"error 12345, which it does not explain", "nvidia-smi"},
		"STANDIN_VERSION=12040": {"supports CUDA up to 12.4, but 13.0 is needed", "release 580"},
	} {
		got := ask(t, folder, setting)
		for _, part := range append(parts, `device="cpu"`) {
			if !got.IsErrDriver || !strings.Contains(got.Error, part) {
				t.Errorf("%s: %q lacks %q", setting, got.Error, part)
			}
		}
		old := strings.HasPrefix(setting, "STANDIN_VERSION")
		if got.Driver.Version == 0 || (len(got.Driver.Devices) == 1) != old {
			t.Errorf("%s: beside the error stands %+v", setting, got.Driver)
		}
	}
	got := ask(t, folder, "STANDIN_RETAIN=2")
	if got.Error != "" || !strings.Contains(got.FreeError, "cuDevicePrimaryCtxRetain for device 0 failed with error 2") || !strings.Contains(got.FreeError, "memory is full") {
		t.Errorf("a full device: %+v", got)
	}
}

// A driver that was loaded by its path is the one that is asked.
func TestLoadedDriver(t *testing.T) {
	library := filepath.Join(t.TempDir(), "libcuda.so.1")
	compile(t, "testdata/libcuda.c", library)
	if got := ask(t, t.TempDir(), "SE600M_TEST_LOAD="+library); got.Error != "" || len(got.Driver.Devices) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestNoDriver(t *testing.T) {
	got := ask(t, t.TempDir())
	if got.Driver.Version != 0 {
		t.Skipf("this machine has a driver: CUDA %d", got.Driver.Version)
	}
	for _, part := range []string{"there is no NVIDIA driver (libcuda.so.1: cannot open shared object file", "release 580", "docker"} {
		if !got.IsErrDriver || !strings.Contains(got.Error, part) || !strings.Contains(got.FreeError, part) {
			t.Errorf("%q lacks %q", got.Error, part)
		}
	}
}

func TestAnotherLibraryOfThatName(t *testing.T) {
	folder := t.TempDir()
	source := filepath.Join(folder, "empty.c")
	if err := os.WriteFile(source, []byte("int cuInit(unsigned flags) { return 0; }"), 0o644); err != nil {
		t.Fatal(err)
	}
	compile(t, source, filepath.Join(folder, "libcuda.so.1"))
	if got := ask(t, folder); !got.IsErrDriver || !strings.Contains(got.Error, "libcuda.so.1 has no cuDriverGetVersion") {
		t.Errorf("%+v", got)
	}
}

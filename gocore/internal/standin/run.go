package standin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	folderVariable  = "SE600M_STANDIN_GPU"
	libraryVariable = "SE600M_ORT_LIBRARY"
	logVariable     = "STANDIN_GPU_LOG"
	childVariable   = "SE600M_TEST_STANDIN_CHILD"
)

// Need skips a test unless `make test-gpu-dry` runs it, and gives the folder of
// the stand-in libraries.
func Need(tb testing.TB) (folder string) {
	tb.Helper()
	folder, library := os.Getenv(folderVariable), os.Getenv(libraryVariable)
	if folder == "" || library == "" {
		tb.Skipf("needs ONNX Runtime's GPU build over stand-in libraries: %s and %s name none (make test-gpu-dry sets them)",
			folderVariable, libraryVariable)
	}
	return folder
}

// GPU are the devices of a process, and what is wrong with them.
type GPU struct {
	// Count is how many there are; 0: one, and None: none.
	Count int
	// Memory is the bytes of each; 0: 80 GiB.
	Memory uint64
	// Driver is its version; 0: 13000, which is that of CUDA 13.0.
	Driver int
	// CuDNN is its version; 0: 91900, which is 9.19.0.
	CuDNN int
	// Dead is a device that fails, "N", or does so from its K-th kernel on, "N:K".
	Dead string
	// Pause is how long every kernel takes.
	Pause time.Duration
	// Without names libraries that are missing, such as "libcuda.so.1".
	Without []string
	// Environment is added to the process's.
	Environment []string
}

// None is the count of no devices.
const None = -1

// Outcome is what became of a process.
type Outcome struct {
	// Output is what it wrote.
	Output string
	// Sessions are those that it opened and closed, in the order of opening.
	Sessions []Session
	// Attention are the kernels that attention nodes chose, in the order in which
	// they first ran.
	Attention []Attention
	// Devices are the counters of all devices that can be, used or not.
	Devices []Counters
}

// Run runs the part of a test in a process of its own, as one process has one
// library and the devices that it had first. The test fails where the part
// fails. A test has one such part, and subtests have theirs.
//
// In the new process the test runs up to Run, which does not return there.
func Run(t *testing.T, gpu GPU, part func(t *testing.T)) Outcome {
	t.Helper()
	folder := Need(t)
	if os.Getenv(childVariable) == t.Name() {
		part(t)
		t.SkipNow()
	}
	work := t.TempDir()
	log, profiles := filepath.Join(work, "counters"), filepath.Join(work, "profile")
	command := exec.Command(os.Args[0], "-test.run="+pattern(t.Name()), "-test.count=1", "-test.v")
	command.Env = append(os.Environ(), gpu.environment(libraries(t, folder, gpu.Without))...)
	command.Env = append(command.Env, childVariable+"="+t.Name(), logVariable+"="+log, "SE600M_ORT_PROFILE="+profiles,
		"ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("in a process of its own: %v:\n%s", err, output)
	}
	if !strings.Contains(string(output), "--- SKIP: "+t.Name()+" ") {
		t.Fatalf("nothing ran in a process of its own:\n%s", output)
	}
	outcome := Outcome{Output: string(output), Attention: parseAttention(string(output))}
	if outcome.Sessions, err = readSessions(profiles); err != nil {
		t.Fatal(err)
	}
	if outcome.Devices, err = readCounters(log); err != nil {
		t.Fatal(err)
	}
	return outcome
}

// pattern selects one test.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// libraries is the folder, or one of links to what is not missing.
func libraries(t *testing.T, folder string, missing []string) string {
	t.Helper()
	if len(missing) == 0 {
		return folder
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	rest := t.TempDir()
	for _, entry := range entries {
		if slices.Contains(missing, entry.Name()) {
			continue
		}
		if err := os.Symlink(filepath.Join(folder, entry.Name()), filepath.Join(rest, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return rest
}

// environment is that of a process that is to have the devices.
func (g GPU) environment(folder string) []string {
	environment := []string{"LD_LIBRARY_PATH=" + folder, "SE600M_CUDA_PATH=" + folder, folderVariable + "=" + folder}
	set := func(name string, value any) {
		environment = append(environment, fmt.Sprintf("STANDIN_GPU_%s=%v", name, value))
	}
	switch g.Count {
	case 0:
		set("COUNT", 1)
	case None:
		set("COUNT", 0)
	default:
		set("COUNT", g.Count)
	}
	if g.Memory > 0 {
		set("MEMORY", strconv.FormatUint(g.Memory, 10))
	}
	if g.Driver > 0 {
		set("DRIVER", g.Driver)
	}
	if g.CuDNN > 0 {
		set("CUDNN", g.CuDNN)
	}
	set("DEAD", g.Dead)
	set("PAUSE", g.Pause.Microseconds())
	return append(environment, g.Environment...)
}

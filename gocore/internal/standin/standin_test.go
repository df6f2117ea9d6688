package standin

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// testdata is what onnxruntime-gpu 1.31.1 wrote in tests of gocore/ort.

func TestSessionsAreReadFromProfiles(t *testing.T) {
	sessions, err := readSessions(filepath.Join("testdata", "profile"))
	if err != nil || len(sessions) != 1 || sessions[0].Graph != "unique" {
		t.Fatalf("got %+v, %v", sessions, err)
	}
	var got []string
	for _, n := range sessions[0].Nodes {
		got = append(got, n.String())
	}
	want := []string{
		"Add (make_Add_1) on CUDAExecutionProvider: float[3]",
		"MemcpyToHost (Memcpy_token_0) on CUDAExecutionProvider: float[3]",
		"Unique (make_Unique_1) on CPUExecutionProvider: float[1]",
		"MemcpyFromHost (Memcpy) on CUDAExecutionProvider: float[1]",
		"Add (make_Add_2) on CUDAExecutionProvider: float[1]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	ops := func(nodes []Node) (list []string) {
		for _, n := range nodes {
			list = append(list, n.Op)
		}
		return list
	}
	if got := ops(sessions[0].NotOn(CUDA)); !slices.Equal(got, []string{"MemcpyToHost", "Unique", "MemcpyFromHost"}) {
		t.Errorf("not on CUDA: %q", got)
	}
	if got := ops(sessions[0].Copies()); !slices.Equal(got, []string{"MemcpyToHost", "MemcpyFromHost"}) {
		t.Errorf("copies: %q", got)
	}
	if n := sessions[0].Nodes[0]; n.Peak != 768 || n.Held != 1<<20 {
		t.Errorf("memory: %+v", n)
	}
}

func TestShapeNodes(t *testing.T) {
	for _, c := range []struct {
		op      string
		outputs []string
		want    bool
	}{
		{"Concat", []string{"int64[3]"}, true},
		{"Gather", []string{"int64[]"}, true},
		{"Split", []string{"int64[1]", "int64[2]"}, true},
		{"Concat", []string{"float[3]"}, false},
		{"Concat", []string{"int64[3]", "float[3]"}, false},
		{"Cast", []string{"int64[4,20]"}, false},
		{"Cast", []string{"int64[2048]"}, false},
		{"MemcpyToHost", []string{"int64[3]"}, false},
		{"Concat", nil, false},
	} {
		if got := (Node{Op: c.op, Outputs: c.outputs}).IsShape(); got != c.want {
			t.Errorf("%s %v: %v", c.op, c.outputs, got)
		}
	}
}

func TestAttentionIsReadFromOutput(t *testing.T) {
	output, err := os.ReadFile(filepath.Join("testdata", "attention.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Attention{
		{"MultiHeadAttention", "make_MultiHeadAttention_1", "fp16", "MATH"},
		{"MultiHeadAttention", "make_MultiHeadAttention_1", "fp16", "EFFICIENT_ATTENTION"},
	}
	if got := parseAttention(string(output)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestPattern(t *testing.T) {
	if got := pattern("TestA/one,_(two)/x"); got != `^TestA$/^one,_\(two\)$/^x$` {
		t.Errorf("got %s", got)
	}
}

// The devices of a process are those that the test asks for.
func TestGPURun(t *testing.T) {
	outcome := Run(t, GPU{Count: 3, Environment: []string{"SE600M_TEST_WORD=word"}}, func(t *testing.T) {
		if os.Getenv("SE600M_TEST_WORD") != "word" || os.Getenv("STANDIN_GPU_COUNT") != "3" {
			t.Errorf("the environment is %v", os.Environ())
		}
		if now := Now(t); len(now) != MostDevices || now[0] != (Counters{}) {
			t.Errorf("%v", now)
		}
	})
	if len(outcome.Sessions) != 0 || len(outcome.Attention) != 0 || outcome.Devices != nil {
		t.Errorf("%+v", outcome)
	}
}

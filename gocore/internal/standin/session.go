package standin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The names of execution providers in profiles.
const (
	CPU      = "CPUExecutionProvider"
	CUDA     = "CUDAExecutionProvider"
	TensorRT = "TensorrtExecutionProvider"
)

// Session is what a session ran, from its profile: nodes as they are after ONNX
// Runtime has fused and added some.
type Session struct {
	// Graph is the name that package ort knows it by.
	Graph string
	// Nodes in the order in which they first ran.
	Nodes []Node
}

// Node is a node that ran.
type Node struct {
	Name, Op, Provider string
	// Outputs are the element types and shapes of its outputs, such as
	// "float[4,20,16]", in its first run.
	Outputs []string
	// Peak and Held are bytes of its provider's arena after its first run: the most
	// that tensors had until then, and all that the arena has taken.
	Peak, Held uint64
}

// String is the node as messages name it.
func (n Node) String() string {
	return fmt.Sprintf("%s (%s) on %s: %s", n.Op, n.Name, n.Provider, strings.Join(n.Outputs, " "))
}

// NotOn are the nodes that are on other providers, copies included.
func (s Session) NotOn(provider string) (nodes []Node) {
	for _, n := range s.Nodes {
		if n.Provider != provider || n.IsCopy() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Copies are the nodes that ONNX Runtime added to copy tensors between host and
// device.
func (s Session) Copies() (nodes []Node) {
	for _, n := range s.Nodes {
		if n.IsCopy() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// IsCopy tells whether a node copies a tensor between host and device.
func (n Node) IsCopy() bool { return strings.HasPrefix(n.Op, "Memcpy") }

// IsShape tells whether a node computes nothing but a shape: a few whole
// numbers, which the host needs.
func (n Node) IsShape() bool {
	return !n.IsCopy() && len(n.Outputs) > 0 && !slices.ContainsFunc(n.Outputs, func(output string) bool {
		shape, whole := strings.CutPrefix(output, "int64[")
		size, err := strconv.Atoi(strings.TrimSuffix(shape, "]"))
		return !whole || (err != nil || size > 8) && shape != "]"
	})
}

// readSessions reads the profiles whose names begin with a prefix, go on with
// numbers, in the order in which the sessions were opened, and with the graph's
// name, and end with the time.
func readSessions(prefix string) (sessions []Session, err error) {
	paths, err := filepath.Glob(prefix + "-*.json") // sorted
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		session, err := parseProfile(content)
		if err != nil {
			return nil, fmt.Errorf("profile %s: %w", path, err)
		}
		_, name, _ := strings.Cut(strings.TrimPrefix(path, prefix+"-"), "-")
		session.Graph, _, _ = strings.Cut(name, "_")
		sessions = append(sessions, session)
	}
	return sessions, nil
}

// parseProfile reads what ONNX Runtime writes: a list of events, of which those
// of category Node are runs of nodes.
func parseProfile(content []byte) (s Session, err error) {
	var events []struct {
		Category string `json:"cat"`
		Name     string `json:"name"`
		Args     struct {
			Op       string                       `json:"op_name"`
			Provider string                       `json:"provider"`
			Index    string                       `json:"node_index"`
			Outputs  []map[string]json.RawMessage `json:"output_type_shape"`
			Peak     uint64                       `json:"mem_in_use_peak,string"`
			Held     uint64                       `json:"mem_arena_held,string"`
		} `json:"args"`
	}
	if err := json.Unmarshal(content, &events); err != nil {
		return s, err
	}
	seen := map[string]bool{}
	for _, e := range events {
		name, ran := strings.CutSuffix(e.Name, "_kernel_time")
		if e.Category != "Node" || !ran || seen[e.Args.Index] {
			continue
		}
		seen[e.Args.Index] = true
		n := Node{Name: name, Op: e.Args.Op, Provider: e.Args.Provider, Peak: e.Args.Peak, Held: e.Args.Held}
		for _, output := range e.Args.Outputs {
			for element, shape := range output {
				n.Outputs = append(n.Outputs, element+string(shape))
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	return s, nil
}

// Attention is the kernel that an attention node has chosen.
type Attention struct {
	Operator, Node, Type string
	// Kernel is "MATH", which makes the whole matrix of scores, or one that does
	// not, such as "EFFICIENT_ATTENTION".
	Kernel string
}

var attentionLine = regexp.MustCompile(`Operator=(\S+) Node=(\S+) DataType=(\S+)(?: .*?)? SdpaKernel=([A-Z_0-9]+)`)

// parseAttention reads the lines that ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO has
// written.
func parseAttention(output string) (chosen []Attention) {
	for _, m := range attentionLine.FindAllStringSubmatch(output, -1) {
		chosen = append(chosen, Attention{m[1], m[2], m[3], m[4]})
	}
	return chosen
}

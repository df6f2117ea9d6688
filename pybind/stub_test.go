package pybind

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write python/se600m/_se600m.pyi anew")

const stubHead = `"""The native module that gopy wraps from the Go package pybind (see pybind/ for the contracts).

Written by ` + "`go test ./pybind -run TestStub -update`" + ` from the exported functions there.
"""

`

// pythonTypes are the types that cross the border.
var pythonTypes = map[string]string{"string": "str", "int64": "int", "float64": "float", "bool": "bool"}

// stub is what mypy is told of a function.
func stub(f *ast.FuncDecl) (string, error) {
	typeOf := func(e ast.Expr) (string, error) {
		name, is := e.(*ast.Ident)
		if !is || pythonTypes[name.Name] == "" {
			return "", fmt.Errorf("%s: type %T does not cross the border", f.Name.Name, e)
		}
		return pythonTypes[name.Name], nil
	}
	var parameters []string
	for _, field := range f.Type.Params.List {
		kind, err := typeOf(field.Type)
		if err != nil {
			return "", err
		}
		for _, name := range field.Names {
			parameters = append(parameters, name.Name+": "+kind)
		}
	}
	// gopy makes an exception of an error, which must stand beside a value.
	results := f.Type.Results
	if results == nil || len(results.List) == 0 || len(results.List) > 2 {
		return "", fmt.Errorf("%s must return a value, and may return an error beside it", f.Name.Name)
	}
	result, err := typeOf(results.List[0].Type)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("def pybind_%s(%s) -> %s: ...\n", f.Name.Name, strings.Join(parameters, ", "), result), nil
}

// exports are the functions of the package that Python calls.
func exports(t *testing.T) (found []*ast.FuncDecl) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, is := decl.(*ast.FuncDecl); is && f.Recv == nil && f.Name.IsExported() {
				found = append(found, f)
			}
		}
	}
	return found
}

// What mypy is told of the module is what Go has.
func TestStub(t *testing.T) {
	var lines []string
	for _, f := range exports(t) {
		line, err := stub(f)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	want := stubHead + strings.Join(lines, "")
	const path = "../python/se600m/_se600m.pyi"
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what Go has (go test ./pybind -run TestStub -update writes it):\n%s\nwant:\n%s", path, got, want)
	}
}

package pybind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/se600m/se600m-go/gocore/embed"
	"github.com/se600m/se600m-go/gocore/expression"
	"github.com/se600m/se600m-go/gocore/neighbors"
	"github.com/se600m/se600m-go/gocore/safego"
)

// parse reads the text of an error that crosses the border.
func parse(t *testing.T, err error) (fields struct {
	Code, Message string
	Cell, Gene    *int
},
) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if failed := json.Unmarshal([]byte(err.Error()), &fields); failed != nil {
		t.Fatalf("%q: %v", err, failed)
	}
	return fields
}

// refused makes sure of an error's code and of what it says.
func refused(t *testing.T, err error, code, says string) {
	t.Helper()
	if got := parse(t, err); got.Code != code || !strings.Contains(got.Message, says) {
		t.Errorf("got %+v; want code %q saying %q", got, code, says)
	}
}

func TestEverySentinelHasItsCode(t *testing.T) {
	for _, c := range codes {
		t.Run(c.sentinel.Error(), func(t *testing.T) {
			err := encode(fmt.Errorf("somewhere: %w", fmt.Errorf("deeper: %w", c.sentinel)))
			refused(t, err, c.code, "somewhere: deeper")
			if said := parse(t, err).Message; strings.Contains(said, c.sentinel.Error()) {
				t.Errorf("%q says once more what the class says", said)
			}
			refused(t, encode(c.sentinel), c.code, c.sentinel.Error())
		})
	}
	refused(t, encode(errors.New("something else")), "other", "something else")
	refused(t, encode(fmt.Errorf("%w: %w", context.Canceled, safego.ErrPanic)), "canceled", "") // the first in the table counts
	// A panic is a defect whatever it stopped.
	refused(t, encode(fmt.Errorf("%w: %w", neighbors.ErrShape, safego.ErrPanic)), "internal", "")
	listed := map[error]bool{}
	for _, c := range codes {
		if listed[c.sentinel] {
			t.Errorf("%q is in the table twice", c.sentinel)
		}
		listed[c.sentinel] = true
	}
	if encode(nil) != nil {
		t.Error("no error became one")
	}
}

func TestNamesOfPackagesStayInGo(t *testing.T) {
	option := fmt.Errorf("convert: embed: seed=-1: %w", embed.ErrOption)
	if got := parse(t, encode(option)).Message; got != "seed=-1" {
		t.Errorf("got %q", got)
	}
	// Only whole names at the front are those of packages.
	for _, text := range []string{"embedding: 3", `checkpoint "a": sentence: 3`, "sentence", "config: 3"} {
		if got := parse(t, encode(fmt.Errorf("%s: %w", text, embed.ErrOption))).Message; got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	// A report of an internal error says where it is from.
	for _, err := range []error{fmt.Errorf("pybind: 3 elements: %w", errMemory), errors.New("graph: something else")} {
		if got := parse(t, encode(err)).Message; !strings.HasPrefix(err.Error(), got) {
			t.Errorf("%q became %q", err, got)
		}
	}
	directories, err := filepath.Glob(filepath.Join("..", "gocore", "*", "doc.go"))
	if err != nil || len(directories) < 10 {
		t.Fatalf("%v: %v", directories, err)
	}
	for _, path := range directories {
		if name := filepath.Base(filepath.Dir(path)); !slices.Contains(packages, name) {
			t.Errorf("package %s is not in the list", name)
		}
	}
}

func TestNotFiniteErrorsNameTheirPlace(t *testing.T) {
	got := parse(t, encode(fmt.Errorf("embed: %w", &expression.NotFiniteError{Cell: 7, Gene: 0})))
	if got.Code != "not-finite" || got.Cell == nil || *got.Cell != 7 || got.Gene == nil || *got.Gene != 0 {
		t.Errorf("got %+v", got)
	}
	if other := parse(t, encode(errHandle)); other.Cell != nil || other.Gene != nil {
		t.Errorf("got %+v", other)
	}
}

func TestErrorTextsThatAreNoUTF8(t *testing.T) {
	if got := parse(t, encode(errors.New("gene \xff\"\n"))); got.Message != "gene \ufffd\"\n" {
		t.Errorf("got %q", got.Message)
	}
}

// sentinels finds the exported errors of a package.
func sentinels(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no package in %q: %v", dir, err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			general, is := decl.(*ast.GenDecl)
			if !is || general.Tok != token.VAR {
				continue
			}
			for _, spec := range general.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// An error that a package makes and the table forgets would reach Python as
// "other".
func TestNoSentinelIsForgotten(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, is := n.(*ast.SelectorExpr); is {
			if pkg, is := selector.X.(*ast.Ident); is {
				listed[pkg.Name+"."+selector.Sel.Name] = true
			}
		}
		return true
	})
	seen := 0
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		_, inside, is := strings.Cut(path, "/gocore/")
		if !is {
			continue
		}
		for _, name := range sentinels(t, filepath.Join("..", "gocore", filepath.FromSlash(inside))) {
			seen++
			if full := filepath.Base(inside) + "." + name; !listed[full] {
				t.Errorf("%s has no code", full)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d sentinels were found", seen)
	}
}

func TestAPanicBecomesAnError(t *testing.T) {
	_, err := Fail()
	refused(t, err, "internal", "a deliberate panic")
	refused(t, err, "internal", "pybind.Fail") // where it was
}

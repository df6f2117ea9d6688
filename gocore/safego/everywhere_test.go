package safego_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// starters are what starts a goroutine, besides the go statement, by the path of
// the package: a panic in one of these ends the process.
var starters = map[string][]string{
	"sync":                           {"WaitGroup"},
	"time":                           {"AfterFunc"},
	"context":                        {"AfterFunc"},
	"golang.org/x/sync/errgroup":     {"Group", "WithContext"},
	"golang.org/x/sync/singleflight": {"Group"},
}

// started finds where a file starts goroutines.
func started(files *token.FileSet, file *ast.File) (found []string) {
	packages := map[string]string{}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser has read it
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		packages[name] = path
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, files.Position(n.Pos()).String()+": go")
		case *ast.SelectorExpr:
			of, is := n.X.(*ast.Ident)
			if !is {
				break
			}
			for _, name := range starters[packages[of.Name]] {
				if n.Sel.Name == name {
					found = append(found, files.Position(n.Pos()).String()+": "+of.Name+"."+name)
				}
			}
		}
		return true
	})
	return found
}

func TestNoGoroutineStartsElsewhere(t *testing.T) {
	const here = "safego"
	seen, inside := 0, 0
	for _, root := range []string{"..", filepath.Join("..", "..", "pybind")} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			seen++
			places := started(files, file)
			if filepath.Base(filepath.Dir(path)) == here {
				inside += len(places)
				return nil
			}
			for _, place := range places {
				t.Errorf("%s starts a goroutine in which a panic ends the process: use package safego", place)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 50 || inside < 3 {
		t.Errorf("%d files, and %d places in package safego: were they looked at?", seen, inside)
	}
}

func TestStartedFindsEveryWay(t *testing.T) {
	const text = `package p
import ("sync"; "time"; c "context"; "golang.org/x/sync/errgroup")
func f() {
	go f()
	go func() {}()
	var w sync.WaitGroup
	time.AfterFunc(1, f)
	c.AfterFunc(nil, f)
	errgroup.WithContext(nil)
	var g errgroup.Group
	var mutex sync.Mutex
	time.After(1)
}`
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found := started(files, file); len(found) != 7 {
		t.Errorf("found %q", found)
	}
}

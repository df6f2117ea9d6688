package pybind

import (
	"context"
	"errors"
	"go/ast"
	"go/token"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// held counts what a process keeps: goroutines, jobs and models.
func held() (goroutines, nJobs, nModels int) {
	jobs.mu.Lock()
	defer jobs.mu.Unlock()
	models.mu.Lock()
	defer models.mu.Unlock()
	return runtime.NumGoroutine(), len(jobs.values), len(models.values)
}

// Whatever becomes of a job or a model, nothing is left of it.
func TestNothingIsLeft(t *testing.T) {
	first := openDefault(t)
	dir := describedDir(t, first)
	round := func() {
		model, err := OpenModel(dir, "cpu", "auto")
		if err != nil {
			t.Fatal(err)
		}
		width := describeModel(t, model).Config.Dimensions["output_dim"]
		cls := int32(describeModel(t, model).Config.Dimensions["n_genes"])
		finish(t, "embed_sentences", map[string]any{
			"model": model, "n_cells": 1, "length": 2, "batch_size": 0, "threads": 2,
			"gene_indices": borrowed(t, "int32", cls, 1), "expression_values": borrowed(t, "float32", float32(1), 2),
			"embedding": borrowed(t, "float32", make([]float32, width)...),
		}, nil)
		for _, request := range []string{`{"goroutine": false}`, `{"goroutine": true}`} {
			job, err := Start("fail", request)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Finish(job)
			refused(t, err, "internal", "deliberate")
		}
		_, err = Start("fail", "{}")
		refused(t, err, "internal", "missing")
		job := begin(func(ctx context.Context, _ *job) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, errCancel := Cancel(job)
		_, errFinish := Finish(job)
		if errCancel != nil || errFinish == nil {
			t.Errorf("%v, %v", errCancel, errFinish)
		}
		_, errDir := OpenModel(filepath.Join(dir, "nowhere"), "cpu", "auto")
		if _, errClose := CloseModel(model); errClose != nil || errDir == nil {
			t.Error(errors.Join(errClose, errDir))
		}
	}
	round()
	goroutines, nJobs, nModels := settle(0)
	if nJobs != 0 || nModels != 1 {
		t.Errorf("%d jobs and %d models", nJobs, nModels)
	}
	for range 10 {
		round()
	}
	if again, nJobs, nModels := settle(goroutines); again > goroutines || nJobs != 0 || nModels != 1 {
		t.Errorf("%d goroutines, %d before; %d jobs and %d models", again, goroutines, nJobs, nModels)
	}
}

// settle counts what is held once goroutines that have done their work are gone,
// or after a second.
func settle(most int) (goroutines, nJobs, nModels int) {
	for range 100 {
		if goroutines, nJobs, nModels = held(); goroutines <= most {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return goroutines, nJobs, nModels
}

func describedDir(t *testing.T, model int64) string {
	t.Helper()
	m, err := models.get(model)
	if err != nil {
		t.Fatal(err)
	}
	return m.Dir
}

// A panic in an export would end the interpreter: each that can fail begins with
// what makes an error of it, and those that can't are known here.
func TestEveryExportRecovers(t *testing.T) {
	cannotFail := map[string]bool{"FormatVersion": true, "RuntimeLibrary": true, "Version": true}
	all := exports(t)
	for _, f := range all {
		if recovers(f) == cannotFail[f.Name.Name] {
			t.Errorf("%s: recovers: %v", f.Name.Name, recovers(f))
		}
	}
	if len(all) < 15 {
		t.Errorf("only %d exports were found", len(all))
	}
}

// recovers tells whether a function begins with `defer export(&err)`, where err is
// what it returns.
func recovers(f *ast.FuncDecl) bool {
	results := f.Type.Results.List
	names := results[len(results)-1].Names
	if len(f.Body.List) == 0 || len(names) != 1 || names[0].Name != "err" {
		return false
	}
	deferred, is := f.Body.List[0].(*ast.DeferStmt)
	if !is || len(deferred.Call.Args) != 1 {
		return false
	}
	name, isName := deferred.Call.Fun.(*ast.Ident)
	address, isAddress := deferred.Call.Args[0].(*ast.UnaryExpr)
	if !isName || name.Name != "export" || !isAddress || address.Op != token.AND {
		return false
	}
	of, isIdent := address.X.(*ast.Ident)
	return isIdent && of.Name == "err"
}

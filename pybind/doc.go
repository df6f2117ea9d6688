// Package pybind is the only package that gopy wraps: the border to Python.
//
// What crosses it are scalars, strings and raw addresses. Handles are integers,
// options and reports JSON. Python allocates every array and keeps it alive
// until the job that was given its address has finished; Go keeps no address
// after that. Long work is a job: [Start], [Wait] a few milliseconds at a time,
// [Cancel], [Finish], so that a stop button works. gopy releases the GIL around
// every call.
//
// Every export recovers from panics, because a panic would end the interpreter,
// and returns a value beside its error, because gopy leaks memory otherwise. The
// text of an error is JSON, {"code": …, "message": …}; errors.go has the codes.
package pybind

package ort

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A library that is called may change the thread's signal stack and free it.
func TestSignalStackIsGivenBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	foreign, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	ours := signalStack{base: uintptr(unsafe.Pointer(&foreign[0])), size: uintptr(len(foreign))}
	var before, between, after signalStack
	exchangeSignalStack(nil, &before)
	giveBack := keepSignalStack()
	if !exchangeSignalStack(&ours, nil) {
		t.Fatal("the signal stack can't be set")
	}
	exchangeSignalStack(nil, &between)
	giveBack()
	exchangeSignalStack(nil, &after)
	if err := unix.Munmap(foreign); err != nil {
		t.Fatal(err)
	}
	if between.base != ours.base {
		t.Fatalf("the signal stack was not changed: %+v", between)
	}
	if after != before || before.base == 0 {
		t.Errorf("the signal stack is %+v; it was %+v", after, before)
	}
}

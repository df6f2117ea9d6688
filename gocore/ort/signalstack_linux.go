package ort

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// signalStack is what the kernel calls stack_t.
type signalStack struct {
	base  uintptr
	flags int32
	size  uintptr
}

// keepSignalStack holds a goroutine on its thread until the function that it
// returns has given the thread its signal stack back.
//
// OpenVINO's plugin, when it is made, puts a signal stack of its own in the
// place of that of Go's runtime, and frees it with the last session, which any
// thread may close. The next signal on the first thread would then end the
// process.
func keepSignalStack() (giveBack func()) {
	runtime.LockOSThread()
	var own signalStack
	if !exchangeSignalStack(nil, &own) {
		return runtime.UnlockOSThread
	}
	return func() {
		exchangeSignalStack(&own, nil)
		runtime.UnlockOSThread()
	}
}

// exchangeSignalStack sets the thread's signal stack, unless that is nil, and
// tells the one before.
func exchangeSignalStack(set, before *signalStack) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_SIGALTSTACK, uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(before)), 0)
	return errno == 0
}

package ort

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// signalHandler is what the kernel calls struct sigaction.
type signalHandler struct {
	handler, flags, restorer, mask uintptr
}

// nSignals is how many signals there are, counted from 1.
const nSignals = 64

// keepSignalHandlers gives the process the handlers back that it has now: NVIDIA's
// libraries set some of their own when they start. Ctrl-C is left out: Python's
// handler may be changed by Python itself in the meantime.
func keepSignalHandlers() (giveBack func()) {
	var before [nSignals + 1]signalHandler
	for signal := 1; signal <= nSignals; signal++ {
		exchangeSignalHandler(signal, nil, &before[signal])
	}
	return func() {
		for signal := 1; signal <= nSignals; signal++ {
			var now signalHandler
			if signal != int(unix.SIGINT) && exchangeSignalHandler(signal, nil, &now) && now != before[signal] {
				exchangeSignalHandler(signal, &before[signal], nil)
			}
		}
	}
}

// exchangeSignalHandler sets a signal's handler, unless that is nil, and tells
// the one before.
func exchangeSignalHandler(signal int, set, before *signalHandler) bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(before)), unsafe.Sizeof(uintptr(0)), 0, 0)
	return errno == 0
}

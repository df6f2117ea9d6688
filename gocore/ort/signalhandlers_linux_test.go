package ort

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A library may set handlers of its own when it starts.
func TestSignalHandlersAreGivenBack(t *testing.T) {
	signal := int(unix.SIGUSR2)
	var before, between, after signalHandler
	exchangeSignalHandler(signal, nil, &before)
	giveBack := keepSignalHandlers()
	foreign := before
	foreign.handler = 1 // SIG_IGN
	if !exchangeSignalHandler(signal, &foreign, nil) {
		t.Fatal("the handler can't be set")
	}
	exchangeSignalHandler(signal, nil, &between)
	giveBack()
	exchangeSignalHandler(signal, nil, &after)
	if between.handler != 1 || before.handler == 1 {
		t.Fatalf("the handler was not changed: %+v", between)
	}
	if after != before {
		t.Errorf("the handler is %+v; it was %+v", after, before)
	}
}

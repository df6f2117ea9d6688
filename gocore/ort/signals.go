package ort

// KeepSignals holds a goroutine on its thread until the function that it returns
// has given the process its signal handlers back, and the thread its signal
// stack. What a provider's libraries do to them stays its own affair.
func KeepSignals() (giveBack func()) {
	stack, handlers := keepSignalStack(), keepSignalHandlers()
	return func() {
		handlers()
		stack()
	}
}

// Package safego is where every goroutine of the module starts.
//
// A panic in a goroutine can't be recovered by whoever waits for it: it ends
// the process, and with it the Python interpreter and whatever the user had in
// memory. A goroutine that starts here makes an error of it instead, which
// wraps [ErrPanic] and carries the stack. A test makes sure that no goroutine
// starts anywhere else.
package safego

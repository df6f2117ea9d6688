// Package notice collects what users should be told of while work goes on: that a
// batch did not fit, or that something takes minutes once. Who waits for the work
// takes the notices and shows them.
package notice

import (
	"fmt"
	"sync"
)

// most is how many notices are kept where nobody takes them.
const most = 100

var kept struct {
	sync.Mutex
	texts []string
}

// Sayf adds a notice.
func Sayf(format string, args ...any) {
	kept.Lock()
	defer kept.Unlock()
	if len(kept.texts) < most {
		kept.texts = append(kept.texts, fmt.Sprintf(format, args...))
	}
}

// Once adds a notice, unless the same was added before.
func Once(text string) {
	if _, before := said.LoadOrStore(text, true); !before {
		Sayf("%s", text)
	}
}

var said sync.Map

// Take gives the notices since the last call, oldest first.
func Take() []string {
	kept.Lock()
	defer kept.Unlock()
	texts := append([]string{}, kept.texts...) // [] rather than null in JSON
	kept.texts = nil
	return texts
}

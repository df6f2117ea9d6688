package notice_test

import (
	"slices"
	"testing"

	"github.com/se600m/se600m-go/gocore/notice"
)

func TestNotices(t *testing.T) {
	notice.Take()
	notice.Sayf("batches of %d cells", 16)
	notice.Sayf("100 %%")
	if got := notice.Take(); !slices.Equal(got, []string{"batches of 16 cells", "100 %"}) {
		t.Errorf("got %q", got)
	}
	if got := notice.Take(); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
	notice.Once("x is not used")
	notice.Once("x is not used")
	if got := notice.Take(); len(got) != 1 {
		t.Errorf("once: %q", got)
	}
	for range 1000 { // nobody takes them
		notice.Sayf("x")
	}
	if got := notice.Take(); len(got) != 100 {
		t.Errorf("%d are kept", len(got))
	}
}

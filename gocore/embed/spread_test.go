package embed

import "testing"

// No machine is given more busy threads than it has, and none fewer: a wide
// model's run takes all of them, a narrow model's runs one each.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ threads, width, runners, threadsPerRun int }{
		{1, 2048, 1, 1},
		{2, 2048, 1, 2},
		{16, 2048, 1, 16},
		{64, 2048, 1, 64},
		{1, 128, 1, 1},
		{2, 128, 2, 1},
		{16, 128, 16, 1},
		{64, 128, 64, 1},
	} {
		e, err := new(Model).spread(c.threads, c.width)
		if err != nil || e.runners != c.runners || e.threadsPerRun != c.threadsPerRun || e.workers > c.threads {
			t.Errorf("%+v: %+v, %v", c, e, err)
		}
	}
}

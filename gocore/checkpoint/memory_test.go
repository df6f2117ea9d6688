package checkpoint

import "runtime/metrics"

// allocated is how many bytes of memory f takes in all, those given back
// included. Nothing else may run at the same time.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

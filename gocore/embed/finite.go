package embed

import (
	"errors"
	"fmt"

	"github.com/se600m/se600m-go/gocore/modeldir"
)

// ErrOverflow: the model's numbers leave the range of a precision.
var ErrOverflow = errors.New("out of a precision's range")

// wayOut is what to use where numbers leave the range of an element type: 65,504
// in float16. That of bfloat16 is float32's, but sums in it are less exact.
var wayOut = map[modeldir.Element]string{
	modeldir.Float16:  "fp16 has no number over 65,504: use precision=\"bf16\"",
	modeldir.BFloat16: "use precision=\"fp32\"",
}

// checkFinite reports results of a cell, the row-th, that are NaN or infinite
// where layers were computed in 16 bits. In other forms they are as the weights
// have them.
func (l *lane) checkFinite(row int, what string, values []float32) error {
	way, has := wayOut[l.form.Computed()]
	if !has {
		return nil
	}
	for _, v := range values {
		if v-v != 0 {
			return fmt.Errorf("embed: cell %d: %s is not finite: model %q leaves the range of its precision on %s: %s: %w",
				row, what, l.model.Config.Name, l.device.provider.Name(), way, ErrOverflow)
		}
	}
	return nil
}

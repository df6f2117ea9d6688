package pybind

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestErrorsOfThePlaceThatIsWrittenTo(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM} {
		err := fmt.Errorf("convert: %w", &os.PathError{Op: "write", Path: "/full/weights.bin", Err: cause})
		var text struct{ Code, Message string }
		if err := json.Unmarshal([]byte(encode(cannotWrite(err)).Error()), &text); err != nil {
			t.Fatal(err)
		}
		if want := "write /full/weights.bin: " + cause.Error(); text.Code != "destination" || text.Message != want {
			t.Errorf("%v: code %q, message %q", cause, text.Code, text.Message)
		}
	}
	other := errors.New("other")
	if err := cannotWrite(other); !errors.Is(err, other) || errors.Is(err, errDestination) {
		t.Errorf("%v became %v", other, err)
	}
	if err := cannotWrite(nil); err != nil {
		t.Error(err)
	}
}

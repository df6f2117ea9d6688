package pybind

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestOpenRuntimeChecksItsRequest(t *testing.T) {
	for request, want := range map[string]string{
		`{"path": "/nowhere.so"}`:                                         "libraries is missing",
		`{"path": "/nowhere.so", "libraries": [], "library": []}`:         "library is unknown",
		`{"path": "/nowhere.so", "libraries": ["/nowhere/libcuda.so.1"]}`: "/nowhere/libcuda.so.1",
		`{"path": "/nowhere.so", "libraries": []}`:                        "/nowhere.so",
	} {
		_, err := OpenRuntime(request)
		if err == nil || !strings.Contains(strings.NewReplacer(`\`, "", `"`, "").Replace(err.Error()), want) {
			t.Errorf("%s: %v", request, err)
		}
	}
}

func TestDescribeDriver(t *testing.T) {
	text, err := DescribeDriver("")
	if err != nil {
		t.Fatal(err)
	}
	var told driverReport
	if err := fromJSON(text, &told); err != nil {
		t.Fatal(err)
	}
	if (told.Problem == "") != (told.Version >= 13000 && len(told.Devices) > 0) || strings.HasPrefix(told.Problem, "nvidia: ") {
		t.Errorf("%+v", told)
	}
	if told.Devices == nil || !json.Valid([]byte(text)) {
		t.Errorf("no list of devices: %s", text)
	}
	if _, err := DescribeDriver("/nowhere/libcuda.so.1"); err == nil || !strings.Contains(err.Error(), `"code":"runtime"`) {
		t.Errorf("a library that is not there: %v", err)
	}
}

package pybind

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// filled is a request in which every field is set, those within others and
// those that may be left out, too.
func filled(t *testing.T, k kind) map[string]any {
	t.Helper()
	request := k.request()
	fill(reflect.ValueOf(request).Elem())
	text, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if _, is := fields["matrix"]; is {
		fields["matrix"] = csrMatrix{Kind: "csr"}
	}
	return fields
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() || v.Type().Field(i).Anonymous {
				fill(v.Field(i))
			}
		}
	}
}

// with is a request with some fields changed; nil takes one away.
func with(request, changed map[string]any) string {
	request = maps.Clone(request)
	for name, value := range changed {
		if request[name] = value; value == nil {
			delete(request, name)
		}
	}
	text, _ := json.Marshal(request) // it was read from JSON
	return string(text)
}

// Every kind of job takes its own keys, all that it needs, and no others.
func TestKeysOfRequests(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			request := filled(t, k)
			if len(request) == 0 {
				t.Fatal("no keys")
			}
			if err := fromJSON(with(request, nil), k.request()); err != nil {
				t.Fatalf("as it should be: %v", err)
			}
			refusedHere := func(text, says string) {
				t.Helper()
				_, err := Start(name, text)
				refused(t, err, "internal", "pybind: "+name+": request: ")
				refused(t, err, "internal", says)
			}
			refusedHere(with(request, map[string]any{"sede": 1}), `"sede" is unknown`)
			refusedHere(with(request, nil)+"{}", "after top-level value")
			refusedHere(with(request, nil)[1:], "invalid character")
			refusedHere("[]", "cannot unmarshal array")
			optional := optionalKeys(k)
			for key, value := range request {
				misspelt := strings.ToUpper(key[:1]) + key[1:]
				refusedHere(with(request, map[string]any{key: nil, misspelt: value}), fmt.Sprintf("%q is unknown", misspelt))
				if slices.Contains(optional, key) {
					if err := fromJSON(with(request, map[string]any{key: nil}), k.request()); err != nil {
						t.Errorf("%q may be left out, but: %v", key, err)
					}
					continue
				}
				refusedHere(with(request, map[string]any{key: nil}), fmt.Sprintf("%q is missing", key))
				if key != "matrix" {
					refusedHere(with(request, map[string]any{key: json.RawMessage("null")}), fmt.Sprintf("%q is missing", key))
				}
				if parts, is := value.(map[string]any); is {
					missing := "length" // of an array
					if _, rows := parts["numbers"]; rows {
						missing = "numbers"
					}
					misspelt := with(request, map[string]any{key: map[string]any{"address": 1, "len": 2, "dtype": "int32"}})
					refusedHere(misspelt, fmt.Sprintf(`"%s.%s" is missing`, key, missing))
					refusedHere(misspelt, fmt.Sprintf(`"%s.len" is unknown`, key))
				}
			}
		})
	}
}

// optionalKeys are the keys that may be left out, as the types say it.
func optionalKeys(k kind) (keys []string) {
	for _, field := range reflect.VisibleFields(reflect.TypeOf(k.request()).Elem()) {
		if field.Type.Kind() == reflect.Pointer {
			keys = append(keys, field.Tag.Get("json"))
		}
	}
	return keys
}

func TestKeysOfListedMemory(t *testing.T) {
	request := filled(t, kinds["trace"])
	request["stages"] = []any{array{DType: "float32"}, map[string]any{"address": 0, "length": 0, "dtyp": "float32"}}
	_, err := Start("trace", with(request, nil))
	refused(t, err, "internal", `"stages[1].dtype" is missing, "stages[1].dtyp" is unknown`)
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	_, err := Start("dance", "{}")
	refused(t, err, "internal", `"dance"`)
	for name, k := range kinds {
		if request := filled(t, k); request["model"] != nil {
			request["model"] = 99
			if name == "contextual" || name == "attention" {
				delete(request, "genes")
			}
			_, err := Start(name, with(request, nil))
			refused(t, err, "closed", "model 99")
		}
	}
	_, err = Start("embed", with(filled(t, kinds["embed"]), map[string]any{"fill": 1}))
	refused(t, err, "internal", "fill")

	contextual := filled(t, kinds["contextual"])
	for _, wrong := range []map[string]any{
		{},
		{"genes": nil, "slots": nil},
		{"genes": nil, "gene_indices": nil},
		{"slots": nil},
		{"gene_indices": nil},
		{"genes": nil, "slots": nil, "gene_indices": nil},
	} {
		_, err := Start("contextual", with(contextual, wrong))
		refused(t, err, "internal", `pybind: contextual: give either "genes" or both "slots" and "gene_indices"`)
	}

	job, err := Start("convert", with(filled(t, kinds["convert"]), map[string]any{"source": "nowhere.ckpt", "destination": "nowhere"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Finish(job)
	refused(t, err, "checkpoint-not-found", "nowhere.ckpt")
}

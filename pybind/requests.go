package pybind

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// fromJSON reads a request. Every key must be one of its fields', spelt the same,
// and every field must be there: one that is a pointer may be left out.
func fromJSON(text string, request any) error {
	if err := json.Unmarshal([]byte(text), request); err != nil {
		if errors.Is(err, errRequest) { // from a part that reads itself
			return err
		}
		return fmt.Errorf("request: %w: %w", err, errRequest)
	}
	return checkKeys([]byte(text), reflect.TypeOf(request), "")
}

var readsItself = reflect.TypeFor[json.Unmarshaler]()

// checkKeys compares the keys of JSON with the fields of the type that it was
// read into, which package json does not: it takes "Seed" for "seed", and
// leaves what is missing at zero. The place is the one of the JSON in the whole.
func checkKeys(text json.RawMessage, t reflect.Type, place string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(readsItself):
		return nil
	case t.Kind() == reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(text, &items); err != nil {
			return fmt.Errorf("request: %s: %w: %w", place, err, errRequest)
		}
		for i, item := range items {
			if err := checkKeys(item, t.Elem(), place+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	case t.Kind() == reflect.Struct:
		return checkFields(text, t, place)
	}
	return nil
}

func checkFields(text json.RawMessage, t reflect.Type, place string) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("request: %s: %w: %w", place, err, errRequest)
	}
	if place != "" {
		place += "."
	}
	var wrong []string
	unknown := maps.Clone(given)
	for _, field := range reflect.VisibleFields(t) {
		if field.Anonymous {
			continue // its fields are listed themselves
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		delete(unknown, name)
		value, is := given[name]
		if !is || string(value) == "null" {
			if field.Type.Kind() != reflect.Pointer {
				wrong = append(wrong, fmt.Sprintf("%q is missing", place+name))
			}
			continue
		}
		if err := checkKeys(value, field.Type, place+name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		wrong = append(wrong, fmt.Sprintf("%q is unknown", place+name))
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("request: %s: %w", strings.Join(wrong, ", "), errRequest)
}

func toJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("pybind: report: %w: %w", err, errReport)
	}
	return string(text), nil
}

package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may be nested.
const maxDepth = 16

// Errors of decodeObject: they follow "its payload". They hold nothing of the input.
var (
	errNotObject = errors.New("is not a JSON object")
	errRepeated  = errors.New("has a member twice")
	errTooDeep   = errors.New("is nested too deep")
)

// decodeObject decodes a JSON object. In contrast to [json.Unmarshal] it refuses repeated members and
// bytes that are not UTF-8, since other readers of the same token may make something else of them.
// Numbers become a [json.Number].
func decodeObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errNotObject
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := decodeValue(d, maxDepth)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if _, err := d.Token(); !ok || !errors.Is(err, io.EOF) {
		return nil, errNotObject
	}
	return object, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errNotObject
	}
	opening, nests := t.(json.Delim)
	switch {
	case !nests:
		return t, nil
	case depth == 0:
		return nil, errTooDeep
	case opening == '{':
		return decodeMembers(d, depth-1)
	default:
		return decodeElements(d, depth-1)
	}
}

func decodeMembers(d *json.Decoder, depth int) (any, error) {
	object := make(map[string]any)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotObject
		}
		if _, again := object[name]; again {
			return nil, errRepeated
		}
		if object[name], err = decodeValue(d, depth); err != nil {
			return nil, err
		}
	}
	return object, closing(d)
}

func decodeElements(d *json.Decoder, depth int) (any, error) {
	array := []any{}
	for d.More() {
		v, err := decodeValue(d, depth)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	return array, closing(d)
}

// closing reads the bracket that ends an object or an array.
func closing(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errNotObject
	}
	return nil
}

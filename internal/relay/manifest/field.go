package manifest

import (
	"encoding/json"
	"strconv"
)

// number reads an integer. Sequin takes a string, which a variable always gives,
// in some places only.
func (o object) number(key string, otherwise int, stringToo bool) int {
	switch v := o.fields[key].(type) {
	case int:
		return v
	case nil:
		return otherwise
	case string:
		n, err := strconv.Atoi(v)
		switch {
		case stringToo && v == "": // a variable that is not set
			return otherwise
		case stringToo && err == nil:
			return n
		case !stringToo:
			o.fault(key, "must be written as an integer: Sequin refuses a string here, and a variable gives one")
			return otherwise
		}
	}
	o.fault(key, "must be an integer")
	return otherwise
}

// truth reads true or false, as a word or as a string.
func (o object) truth(key string, otherwise bool) bool {
	switch v := o.fields[key].(type) {
	case bool:
		return v
	case nil:
		return otherwise
	case string:
		switch v {
		case "": // a variable that is not set
			return otherwise
		case "true", "1":
			return true
		case "false", "0":
			return false
		}
	}
	o.fault(key, "must be true or false")
	return otherwise
}

func (o object) texts(key string) []string {
	items, ok := o.fields[key].([]any)
	if !ok && o.fields[key] != nil {
		o.fault(key, "must be a list of strings")
	}
	var all []string
	for _, item := range items {
		s, ok := item.(string)
		if !ok {
			o.fault(key, "must be a list of strings")
			return nil
		}
		all = append(all, s)
	}
	return all
}

// annotations are echoed in every message.
func (o object) annotations() []byte {
	const most = 8192
	inner := o.object("annotations")
	if inner.fields == nil {
		return []byte("{}")
	}
	text, err := json.Marshal(inner.fields)
	if err != nil || len(text) > most {
		o.fault("annotations", "must be a JSON object of at most %d bytes", most)
		return []byte("{}")
	}
	return text
}

package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// tree is one mapping of a file.
type tree map[string]any

// list gives the mappings of a list. What is none keeps its place, so that
// positions are those of the file.
func (t tree) list(key string) []tree {
	items, _ := t[key].([]any)
	all := make([]tree, len(items))
	for i, item := range items {
		fields, _ := item.(map[string]any)
		all[i] = fields
	}
	return all
}

func (t tree) object(key string) tree {
	fields, _ := t[key].(map[string]any)
	return fields
}

// text gives a scalar as it is written, and a list of them in one order.
func (t tree) text(key string) string {
	switch v := t[key].(type) {
	case nil, map[string]any:
		return ""
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, fmt.Sprint(item))
		}
		slices.Sort(all)
		return strings.Join(all, ", ")
	default:
		return fmt.Sprint(v)
	}
}

// pairs reads a mapping, or a list of {key, value}.
func (t tree) pairs(key string) map[string]string {
	all := map[string]string{}
	for name := range t.object(key) {
		all[name] = t.object(key).text(name)
	}
	for _, one := range t.list(key) {
		all[one.text("key")] = one.text("value")
	}
	return all
}

// named finds an entry of a list by its name.
func (t tree) named(list, name string) (tree, bool) {
	for _, one := range t.list(list) {
		if one.text("name") == name {
			return one, true
		}
	}
	return nil, false
}

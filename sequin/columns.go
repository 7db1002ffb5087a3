package sequin

import "strings"

// Columns are those that the functions of a file read: record["…"].
func Columns(text []byte) []string {
	seen := map[string]bool{}
	var all []string
	for rest := string(text); ; {
		_, after, ok := strings.Cut(rest, `record["`)
		if !ok {
			return all
		}
		name, _, _ := strings.Cut(after, `"]`)
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
		rest = after
	}
}

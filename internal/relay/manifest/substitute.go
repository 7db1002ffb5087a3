package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/a8m/envsubst/parse"
)

// underscore is the variable of that name, after which the library never comes to
// an end when a brace is open.
var underscore = regexp.MustCompile(`\$\{?_([^\pL\pN_]|$)`)

// substitute fills variables into string values, after YAML is parsed: ${VAR},
// $VAR, ${VAR:-default} and the other forms of a8m/envsubst, which Sequin's
// command line uses. Keys are left alone, and results stay strings. Code is left
// alone too: a dollar sign means something else there.
func substitute(value any, path string, environ []string) (any, error) {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, "${") && underscore.MatchString(v) {
			return nil, fmt.Errorf("%s: the variables in it cannot be read: $_ inside ${…}", path)
		}
		filled, err := parse.New(path, environ, parse.Relaxed).Parse(v)
		if err != nil {
			return nil, fmt.Errorf("%s: the variables in it cannot be read: %w", path, err)
		}
		return filled, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, field := range v {
			if key == "code" {
				out[key] = field
				continue
			}
			filled, err := substitute(field, join(path, key), environ)
			if err != nil {
				return nil, err
			}
			out[key] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			filled, err := substitute(item, fmt.Sprintf("%s[%d]", path, i), environ)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	default:
		return value, nil
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

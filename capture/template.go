package capture

import (
	"regexp"
	"strings"

	"github.com/finnest/event-runtime/internal/denylist"
)

// NotRecorded is what a Template hook returns for a call that must leave no
// record although it has a route, such as a health check.
const NotRecorded = "-"

// fromPattern reads the pattern of an http.ServeMux, "POST host/consents/{id}".
// It is false where the pattern stands for many endpoints: a subtree, or
// everything.
func fromPattern(pattern string) (string, bool) {
	at := strings.IndexByte(pattern, '/')
	if at < 0 {
		return "", false
	}
	path, exact := strings.CutSuffix(pattern[at:], "{$}")
	if !exact && strings.HasSuffix(path, "/") || strings.HasSuffix(path, "...}") {
		return "", false
	}
	return path, true
}

// endpointForm is the schema's; what does not fit it could not be appended.
var endpointForm = regexp.MustCompile(`^/[A-Za-z0-9/_.{}:-]{0,299}$`)

// normalise brings a template of any router into the form of the regulators'
// lists: /consents/{consentId}, without method, host, query and closing slash.
func normalise(text string) (endpoint string, wrong skipReason) {
	if _, url, ok := strings.Cut(text, "://"); ok {
		text = url
	}
	at := strings.IndexByte(text, '/')
	if at < 0 {
		return "", skipMalformed
	}
	var out strings.Builder
	for _, part := range segments(text[at:]) {
		name, wrong := segment(part)
		if wrong != "" {
			return "", wrong
		}
		if name != "" {
			out.WriteString("/" + name)
		}
	}
	if out.Len() == 0 {
		return "/", ""
	}
	if endpoint = out.String(); !endpointForm.MatchString(endpoint) {
		return "", skipMalformed
	}
	if _, personal := denylist.Find(endpoint); personal {
		return "", skipConcrete
	}
	return endpoint, ""
}

// segments splits at slashes up to a query or fragment; what is in braces stays
// together, as a router's regular expression may hold anything.
func segments(path string) (parts []string) {
	depth, from := 0, 0
	for i := range len(path) {
		switch c := path[i]; {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case depth > 0:
		case c == '/':
			parts, from = append(parts, path[from:i]), i+1
		case c == '?' || c == '#':
			return append(parts, path[from:i])
		}
	}
	return append(parts, path[from:])
}

var placeholder = regexp.MustCompile(`^\{([A-Za-z0-9_-]+)(:.*|\.\.\.)?\}$`)

// segment gives one part of a template: a placeholder as {name}, whichever way
// its router writes it, and everything else as it is.
func segment(part string) (string, skipReason) {
	switch {
	case part == "{$}":
		return "", ""
	case len(part) > 1 && (part[0] == ':' || part[0] == '*'):
		part = "{" + part[1:] + "}"
	}
	if name := placeholder.FindStringSubmatch(part); name != nil {
		return "{" + name[1] + "}", ""
	}
	if !strings.ContainsAny(part, "{}") && concrete(part) {
		return "", skipConcrete
	}
	return part, ""
}

// concrete guesses that part is an id and no word of a template: v2 and
// token.oauth2 are words, 12345 and a UUID are not.
func concrete(part string) bool {
	digits, letters := 0, 0
	for i := range len(part) {
		switch c := part[i]; {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			letters++
		}
	}
	return isUUID(part) || digits >= 6 || digits > 0 && letters == 0
}

// outline is all that a log line may say of a text that is no template: its
// first word. What follows can be anybody's.
func outline(text string) string {
	_, path, _ := strings.Cut(text, "/")
	word, _, more := strings.Cut(path, "/")
	if concrete(word) || !endpointForm.MatchString("/"+word) {
		word = "*"
	}
	if more {
		return "/" + word + "/..."
	}
	return "/" + word
}

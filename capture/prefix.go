package capture

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/finnest/event-runtime/internal/event"
)

// tree is what every endpoint of Open Finance but the security ones stands under.
const tree = "/open-banking"

// uriPrefix is where the called institution serves its endpoints: its host, and
// the path before /open-banking. Endpoints outside of that tree, such as /token
// and /register, are reported with the whole URL; from a placeholder on it is
// cut, and the query never gets in. Open Insurance takes the host only.
//
// The scheme is https whatever the transport spoke: a sidecar may end TLS. It
// may also stand in the URL, with the institution in the Host header.
func uriPrefix(ecosystem, template string, req *http.Request) string {
	host := strings.TrimSuffix(cmp.Or(req.Host, req.URL.Host), ":443")
	path := req.URL.EscapedPath()
	switch {
	case ecosystem == event.OPIN:
		name, _, _ := strings.Cut(host, ":")
		return "https://" + name
	case strings.Contains(template, tree+"/"):
		return "https://" + host + beforeTree(path)
	default:
		return "https://" + host + beforePlaceholder(path, template)
	}
}

// beforeTree is a slash where nothing stands before it: so does the regulator's
// own example.
func beforeTree(path string) string {
	return cmp.Or(path[:max(0, strings.Index(path, tree+"/"))], "/")
}

// beforePlaceholder cuts as many parts off the path as the template has from its
// first placeholder on.
func beforePlaceholder(path, template string) string {
	at := strings.IndexByte(template, '{')
	if at < 0 {
		return path
	}
	path = strings.TrimSuffix(path, "/")
	for range 1 + strings.Count(template[at:], "/") {
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
	return path
}

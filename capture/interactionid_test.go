package capture

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestServerInteractionID(t *testing.T) {
	t.Parallel()
	const zero = "00000000-0000-0000-0000-000000000000"
	for name, c := range map[string]struct {
		sent []string
		want string // "" for a new one
	}{
		"none":                         {},
		"a good one":                   {[]string{anID}, anID},
		"in capitals":                  {[]string{strings.ToUpper(anID)}, strings.ToUpper(anID)},
		"all zero":                     {[]string{zero}, ""},
		"no UUID":                      {[]string{"12345678909"}, ""},
		"URN":                          {[]string{"urn:uuid:" + anID}, ""},
		"empty":                        {[]string{""}, ""},
		"the second is the first good": {[]string{"x", anID, orgA}, anID},
		"two good ones":                {[]string{orgA, anID}, orgA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			seen := make(chan []string, 1)
			s := serve(t, b.Server(ServerOptions{})(routes(map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, r *http.Request) {
				seen <- r.Header[interactionHeader]
				w.Header().Add(interactionHeader, orgB) // as a proxy would
				w.WriteHeader(200)
			}})))
			var header []string
			for _, id := range c.sent {
				header = append(header, interactionHeader, id)
			}
			res, _ := call(t, "POST", s.URL+"/token", "", header...)
			got := b.one()
			if c.want != "" && (got.InteractionID != c.want || got.InteractionIDMade) {
				t.Errorf("got %s, made %v, want %s", got.InteractionID, got.InteractionIDMade, c.want)
			}
			if id, err := uuid.Parse(got.InteractionID); err != nil || c.want == "" && (id.Version() != 4 || !got.InteractionIDMade) {
				t.Errorf("got %s, made %v, want a new UUIDv4", got.InteractionID, got.InteractionIDMade)
			}
			for where, ids := range map[string][]string{"handler": <-seen, "answer": res.Header[interactionHeader]} {
				if len(ids) != 1 || ids[0] != got.InteractionID {
					t.Errorf("%s: got %v, want %s", where, ids, got.InteractionID)
				}
			}
		})
	}
}

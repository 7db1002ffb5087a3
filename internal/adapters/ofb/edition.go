package ofb

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/tenant"
)

// Edition is a digest of all that decides whether a call is reportable at all:
// the catalogue, the APIs that are reported to and the rules. What was not
// reportable under another edition may be so under this one.
func (a *Adapter) Edition(s *tenant.Snapshot) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "ofb\n%x\n%q\n", a.catalogue.sum, slices.Sorted(maps.Keys(a.apis)))
	for _, r := range s.Rules(event.OFB) {
		fmt.Fprintf(h, "%q %q %q %q %s %s\n", r.TenantID, r.Endpoint, r.Method, r.Reason, r.From.UTC().Format(time.RFC3339Nano), r.To.UTC().Format(time.RFC3339Nano))
	}
	return [32]byte(h.Sum(nil))
}

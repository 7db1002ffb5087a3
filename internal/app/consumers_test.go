package app

import (
	"maps"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/transport"
)

func TestEveryConsumerIsDecidedAbout(t *testing.T) {
	t.Parallel()
	ours := reporters(&ofb.Adapter{})
	more := maps.Clone(ours)
	more["x"] = &ofb.Adapter{}
	for name, tc := range map[string]struct {
		by   map[string]submit.Reporter
		owed []transport.Entitlement
		want string
	}{
		"as released":             {ours, transport.Entitlements(), ""},
		"owed, and nobody there":  {ours, append(transport.Entitlements(), transport.Entitlement{Consumer: "x", Ecosystem: "opin", Family: "quote"}), "consumer x is owed opin.quote"},
		"there, and owed nothing": {more, transport.Entitlements(), "[x]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := decided(tc.by, tc.owed)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

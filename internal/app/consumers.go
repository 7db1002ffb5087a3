package app

import (
	"fmt"
	"maps"
	"slices"

	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/transport"
)

// reporters say, for each consumer by its name, what becomes of the events that
// transport.Entitlements owes it.
func reporters(openFinance submit.Reporter) map[string]submit.Reporter {
	return map[string]submit.Reporter{
		transport.PCMOFB: openFinance,
	}
}

// decided refuses entitlements that nobody decides about, and who decides about
// nothing: each would be found out by the first event.
func decided(by map[string]submit.Reporter, owed []transport.Entitlement) error {
	idle := maps.Clone(by)
	for _, e := range owed {
		if by[e.Consumer] == nil {
			return fmt.Errorf("consumer %s is owed %s.%s, but app.reporters has nothing for it", e.Consumer, e.Ecosystem, e.Family)
		}
		delete(idle, e.Consumer)
	}
	if len(idle) > 0 {
		return fmt.Errorf("consumers %v have a reporter, but transport.Entitlements owes them nothing", slices.Sorted(maps.Keys(idle)))
	}
	return nil
}

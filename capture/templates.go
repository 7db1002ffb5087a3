package capture

import (
	"sync"
	"sync/atomic"

	"github.com/finnest/event-runtime/internal/event"
)

// templates remembers what texts came to. Those of a router are few; those of a
// hook may be without end, so that only the first are kept.
type templates struct {
	known sync.Map // text to template
	count atomic.Int64
}

type template struct {
	endpoint string
	wrong    skipReason
}

const (
	mostTemplates = 2000
	mostText      = 400 // longer ones are no templates
)

// endpoint gives the endpoint that text stands for, or says why there is none.
func (r *Recorder) endpoint(role event.Role, text string) (string, skipReason) {
	if text == NotRecorded {
		return "", skipByHook
	}
	if known, ok := r.templates.known.Load(text); ok {
		t := known.(template)
		return t.endpoint, t.wrong
	}
	var t template
	if t.endpoint, t.wrong = normalise(text); t.wrong != "" {
		r.notRecordable(role, text, t.wrong)
	}
	if len(text) <= mostText && r.templates.count.Add(1) <= mostTemplates {
		r.templates.known.Store(text, t)
	}
	return t.endpoint, t.wrong
}

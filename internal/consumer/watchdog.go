package consumer

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// watchdog barks when nothing has been heard for a while. Whether that is
// wrong, the server knows: it counts what is pending.
type watchdog struct {
	source jetstream.Consumer
	bark   <-chan time.Time
	timer  *time.Timer
	after  time.Duration
}

func newWatchdog(source jetstream.Consumer, after time.Duration) *watchdog {
	timer := time.NewTimer(after)
	return &watchdog{source: source, bark: timer.C, timer: timer, after: after}
}

func (w *watchdog) heard() { w.timer.Reset(w.after) }

func (w *watchdog) stop() { w.timer.Stop() }

// pending reports messages that wait to be delivered to anybody. Those that are
// out with another worker do not count. No answer is no proof of silence.
func (w *watchdog) pending(ctx context.Context) bool {
	w.timer.Reset(w.after)
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	info, err := w.source.Info(try)
	return err == nil && info.NumPending > 0 && info.NumAckPending < info.Config.MaxAckPending
}

package consumer

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// heartbeat is how often the server must be heard while it has nothing for us.
const heartbeat = 5 * time.Second

// hands deals messages in hands: what has come by the time the one before was
// worked off, up to a size. Nothing waits longer than a moment for company.
type hands struct {
	out    chan []jetstream.Msg
	source jetstream.MessagesContext
	once   sync.Once

	mu   sync.Mutex
	last error // why it ended; guarded by mu
}

func deal(source jetstream.Consumer, size int, wait time.Duration) (*hands, error) {
	messages, err := source.Messages(jetstream.PullMaxMessages(2*size), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, fmt.Errorf("open message iterator: %w", err)
	}
	h := &hands{out: make(chan []jetstream.Msg), source: messages}
	one := make(chan jetstream.Msg, size)
	go h.read(one)
	go h.gather(one, size, wait)
	return h, nil
}

// read takes messages off the iterator until it ends.
func (h *hands) read(one chan<- jetstream.Msg) {
	defer close(one)
	for {
		msg, err := h.source.Next()
		switch {
		case err == nil:
			one <- msg
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// The iterator asks again by itself; the watchdog decides when that is
			// not enough.
		default:
			if !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				h.because(fmt.Errorf("next message: %w", err))
				h.source.Stop()
			}
			return
		}
	}
}

func (h *hands) gather(one <-chan jetstream.Msg, size int, wait time.Duration) {
	defer close(h.out)
	for first := range one {
		hand := append(make([]jetstream.Msg, 0, size), first)
		patience := time.NewTimer(wait)
		for more := true; more && len(hand) < size; {
			select {
			case msg, open := <-one:
				if more = open; open {
					hand = append(hand, msg)
				}
			case <-patience.C:
				more = false
			}
		}
		patience.Stop()
		h.out <- hand
	}
}

// drain stops asking for more; what has come is still dealt.
func (h *hands) drain() { h.once.Do(h.source.Drain) }

func (h *hands) because(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = why
}

// stop ends everything. What was dealt to nobody is delivered again after
// AckWait.
func (h *hands) stop() {
	h.source.Stop()
	go func() {
		for range h.out { // lets gather and read end
		}
	}()
}

// err says why the hands ended; nil after a drain without a reason.
func (h *hands) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

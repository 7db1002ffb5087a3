package baseline

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pglogrepl"
	"github.com/nats-io/nats.go/jetstream"
)

// waiting is a message whose PubAck is awaited, or with no future the end of a
// transaction: everything before it is stored once it is reached.
type waiting struct {
	future jetstream.PubAckFuture
	end    pglogrepl.LSN
}

// acks follows PubAcks in the order of the messages.
type acks struct {
	waiting   chan waiting
	confirmed atomic.Uint64 // log position behind which everything is stored
}

// follow returns after so many PubAcks, or at the first refusal.
func (a *acks) follow(ctx context.Context, rows int64) error {
	for stored := int64(0); rows == 0 || stored < rows; {
		var next waiting
		select {
		case <-ctx.Done():
			return ctx.Err()
		case next = <-a.waiting:
		}
		if next.future == nil {
			a.confirmed.Store(uint64(next.end))
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.future.Ok():
			stored++
		case err := <-next.future.Err():
			return err
		}
	}
	return nil
}

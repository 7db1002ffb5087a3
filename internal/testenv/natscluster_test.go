package testenv

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// trial is one of many, each a second at most.
func trial(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	late := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := try(ctx)
		if err == nil {
			cancel()
			return
		}
		if time.Now().After(late) {
			cancel()
			t.Fatalf("%s: %v", what, err)
		}
		<-ctx.Done()
		cancel()
	}
}

// Three nodes keep working when one is killed, stopped or cut off, and take it
// back.
func TestNATSNodes(t *testing.T) {
	t.Parallel()
	c := NATSNodes(t, 3, nil)
	js := c.JetStream()
	var stream jetstream.Stream
	trial(t, "a stream", func(ctx context.Context) (err error) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		return err
	})
	leader := func() (n int) {
		trial(t, "a leader", func(ctx context.Context) error {
			info, err := stream.Info(ctx)
			if err == nil {
				n, err = c.Leader(info)
			}
			return err
		})
		return n
	}
	for name, fault := range map[string][2]func(int){"killed": {c.Kill, c.Start}, "stopped": {c.Stop, c.Continue}, "cut off": {c.Cut, c.Join}} {
		n := leader()
		fault[0](n)
		trial(t, "a message while the leader is "+name, func(ctx context.Context) error {
			_, err := js.Publish(ctx, "s", nil)
			if err != nil { // a node that is cut off still lets its clients talk, and answers nothing
				return errors.Join(err, js.Conn().ForceReconnect())
			}
			return nil
		})
		fault[1](n)
		trial(t, "the others knowing it again", func(ctx context.Context) error {
			info, err := stream.Info(ctx)
			if err != nil {
				return err
			}
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					return errNoLeader
				}
			}
			return nil
		})
	}
}

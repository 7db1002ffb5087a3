package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

// Provision makes the streams, entitlements and durable consumers that are
// missing. What exists is left alone: Drift says whether it is good enough.
func Provision(ctx context.Context, js jetstream.JetStream, pool *pgxpool.Pool, limits Limits, now time.Time) error {
	for _, cfg := range Streams(limits) {
		_, err := js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			_, err = js.CreateStream(ctx, cfg)
		}
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
	}
	// Before the consumers: from here on their rows are owed.
	if err := entitle(ctx, pool, now); err != nil {
		return err
	}
	for _, d := range Durables(limits.Replicas) {
		_, err := js.Consumer(ctx, d.Stream, d.Config.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			_, err = js.CreateConsumer(ctx, d.Stream, d.Config)
		}
		if err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
			return fmt.Errorf("consumer %s on %s: %w", d.Config.Durable, d.Stream, err)
		}
	}
	return nil
}

const sqlEntitle = `
INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since)
VALUES (@consumer, @ecosystem, @family, @since)
ON CONFLICT DO NOTHING`

// entitle records since when each consumer is owed its events: the lowest id of
// this millisecond.
func entitle(ctx context.Context, pool *pgxpool.Pool, now time.Time) error {
	since := event.NewID(now)
	clear(since[6:])
	since[6], since[8] = 0x70, 0x80
	for _, e := range Entitlements() {
		_, err := pool.Exec(ctx, sqlEntitle, pgx.NamedArgs{"consumer": e.Consumer, "ecosystem": e.Ecosystem, "family": e.Family, "since": since})
		if err != nil {
			return fmt.Errorf("entitle %s to %s.%s: %w", e.Consumer, e.Ecosystem, e.Family, err)
		}
	}
	return nil
}

// Sight is what runs, compared with what we need.
type Sight struct {
	// Drift names each stream or consumer and the setting that promises less than
	// ours; none is mended here: a person changed it, or somebody who should not have
	// been able to.
	Drift []string
	// Missing is whether one of them is not there at all: that is no change of
	// theirs, and Provision makes it again.
	Missing bool
	// Fill is how full each stream is, of its own limit.
	Fill map[string]float64
}

func (s *Sight) missing(what string) {
	s.Missing = true
	s.Drift = append(s.Drift, what+" is missing")
}

func (s *Sight) differs(what string, settings []string) {
	for _, setting := range settings {
		s.Drift = append(s.Drift, what+": "+setting)
	}
}

// Drift is what Look finds wrong.
func Drift(ctx context.Context, js jetstream.JetStream, limits Limits) ([]string, error) {
	seen, err := Look(ctx, js, limits)
	return seen.Drift, err
}

// Look asks the server for each stream and consumer.
func Look(ctx context.Context, js jetstream.JetStream, limits Limits) (Sight, error) {
	seen := Sight{Fill: map[string]float64{}}
	for _, want := range Streams(limits) {
		name := "stream " + want.Name
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			seen.missing(name)
			continue
		}
		if err != nil {
			return Sight{}, fmt.Errorf("%s: %w", name, err)
		}
		info := s.CachedInfo()
		seen.differs(name, streamDrift(want, info.Config))
		if info.Config.MaxBytes > 0 {
			seen.Fill[want.Name] = float64(info.State.Bytes) / float64(info.Config.MaxBytes)
		}
	}
	for _, want := range Durables(limits.Replicas) {
		name := "consumer " + want.Config.Durable + " on " + want.Stream
		c, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
			seen.missing(name)
			continue
		}
		if err != nil {
			return Sight{}, fmt.Errorf("%s: %w", name, err)
		}
		seen.differs(name, consumerDrift(want.Config, c.CachedInfo().Config))
	}
	return seen, nil
}

// streamDrift lists what live promises less than want. More (a longer age, more
// bytes, more replicas) is the operator's choice.
func streamDrift(want, live jetstream.StreamConfig) []string {
	transform := func(c jetstream.StreamConfig) jetstream.SubjectTransformConfig {
		if c.SubjectTransform == nil {
			return jetstream.SubjectTransformConfig{}
		}
		return *c.SubjectTransform
	}
	return settings(map[string]bool{
		"subjects":        !slices.Equal(live.Subjects, want.Subjects),
		"storage":         live.Storage != want.Storage,
		"replicas":        live.Replicas < want.Replicas,
		"retention":       live.Retention != want.Retention,
		"max_age":         live.MaxAge != 0 && live.MaxAge < want.MaxAge,
		"max_bytes":       live.MaxBytes > 0 && live.MaxBytes < want.MaxBytes,
		"max_msg_size":    live.MaxMsgSize > 0 && live.MaxMsgSize < want.MaxMsgSize,
		"discard":         live.Discard != want.Discard,
		"allow_direct":    !live.AllowDirect,
		"atomic":          want.AllowAtomicPublish && !live.AllowAtomicPublish,
		"duplicates":      live.Duplicates < want.Duplicates,
		"deny_delete":     !live.DenyDelete,
		"deny_purge":      !live.DenyPurge,
		"transform":       transform(live) != transform(want),
		"persist_mode":    live.PersistMode != want.PersistMode,
		"sealed":          live.Sealed,
		"no_ack":          live.NoAck,
		"max_msgs":        live.MaxMsgs > 0,
		"max_per_subject": live.MaxMsgsPerSubject > 0,
	})
}

func consumerDrift(want, live jetstream.ConsumerConfig) []string {
	filters := live.FilterSubjects
	if live.FilterSubject != "" {
		filters = []string{live.FilterSubject}
	}
	return settings(map[string]bool{
		"filter_subjects": !slices.Equal(slices.Sorted(slices.Values(filters)), slices.Sorted(slices.Values(want.FilterSubjects))),
		"ack_policy":      live.AckPolicy != want.AckPolicy,
		"ack_wait":        live.AckWait != want.AckWait,
		"max_ack_pending": live.MaxAckPending != want.MaxAckPending,
		"max_deliver":     live.MaxDeliver != want.MaxDeliver,
		"backoff":         len(live.BackOff) > 0,
		"replicas":        live.Replicas < want.Replicas,
		"paused":          live.PauseUntil != nil && !live.PauseUntil.IsZero(),
		"memory_storage":  live.MemoryStorage,
	})
}

func settings(differs map[string]bool) []string {
	var names []string
	for name, yes := range differs {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// DLQSubject is where a copy of a quarantined message is announced.
func DLQSubject(consumer, tenant, reason string) string {
	if !event.ValidTenant(tenant) {
		tenant = "_"
	}
	return strings.Join([]string{"dlq", consumer, tenant, reason}, ".")
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/google/uuid"
)

func (r *rig) store() *store { return &store{pool: r.pool, consumer: transport.PCMOFB, now: time.Now} }

// persist gives drafts to the database as one hand, and says what each became.
func (r *rig) persist(drafts ...*draft) []Reason {
	r.t.Helper()
	met, err := r.store().persist(r.t.Context(), r.classify(drafts...))
	if err != nil {
		r.t.Fatalf("persist: %v", err)
	}
	reasons := make([]Reason, len(met))
	for i, d := range met {
		reasons[i] = d.Reason
	}
	return reasons
}

func (r *rig) classify(drafts ...*draft) []Decision {
	known := r.known()
	hand := make([]Decision, len(drafts))
	for i, d := range drafts {
		hand[i] = Classify(d.delivered(1), known)
	}
	return hand
}

// days that the test database has, today in the middle.
func yesterday() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(-time.Millisecond) }

// The regulator tells reports apart by organisation, role and interaction id:
// the second event with a key of another one would prove the wrong thing.
func TestReportKeys(t *testing.T) {
	t.Parallel()
	const reused, taken = IDReused, Accepted
	for name, tc := range map[string]struct {
		hands func(key string) [][]*draft
		want  []Reason
	}{
		"the same day": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key))}, {newDraft(interaction(key))}}
		}, []Reason{taken, reused}},
		"across midnight": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key), at(yesterday()))}, {newDraft(interaction(key))}}
		}, []Reason{taken, reused}},
		"the later day came first": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key))}, {newDraft(interaction(key), at(yesterday()))}}
		}, []Reason{taken, reused}},
		"within one hand": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key)), newDraft(interaction(key)), newDraft(interaction(key))}}
		}, []Reason{taken, reused, reused}},
		"within one hand, across midnight": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key), at(yesterday())), newDraft(interaction(key))}}
		}, []Reason{taken, reused}},
		"the first one is delivered again": {func(key string) [][]*draft {
			first := newDraft(interaction(key))
			return [][]*draft{{first}, {newDraft(interaction(key))}, {first.again()}}
		}, []Reason{taken, reused, Duplicate}},
		"the second one is delivered again": {func(key string) [][]*draft {
			second := newDraft(interaction(key))
			return [][]*draft{{newDraft(interaction(key))}, {second}, {second.again()}}
		}, []Reason{taken, reused, Duplicate}},
		"the holder again, behind another with its key": {func(key string) [][]*draft {
			holder := newDraft(interaction(key))
			return [][]*draft{{holder}, {newDraft(interaction(key)), holder.again()}}
		}, []Reason{taken, reused, Duplicate}},
		"the holder of yesterday again, behind another": {func(key string) [][]*draft {
			holder := newDraft(interaction(key), at(yesterday()))
			return [][]*draft{{holder}, {newDraft(interaction(key)), holder.again()}}
		}, []Reason{taken, reused, Duplicate}},
		"one that waits for a person does not hold its key": {func(key string) [][]*draft {
			a, b := newDraft(interaction(uuid.NewString())), newDraft(interaction(key))
			waits := a.again(field("statusCode", 5000)) // broken first, so it waits
			mended := a.again(interaction(key))
			return [][]*draft{{waits}, {mended, b}}
		}, []Reason{"schema_invalid", Duplicate, taken}},
		"the other side of the call": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key)), newDraft(interaction(key), field("role", "SERVER"), field("serverOrgId", ourOrg), field("clientOrgId", otherOrg))}}
		}, []Reason{taken, taken}},
		"another tenant": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key)), newDraft(interaction(key), of(globex))}}
		}, []Reason{taken, taken}},
		"in capitals": {func(key string) [][]*draft {
			return [][]*draft{{newDraft(interaction(key))}, {newDraft(interaction(upper(key)))}}
		}, []Reason{taken, reused}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStore(t, testenv.Postgres(t))
			entitled(t, r)
			hands := tc.hands(uuid.NewString())
			known := map[event.ID]bool{}
			var got []Reason
			for _, hand := range hands {
				for _, d := range hand {
					if !known[d.id] {
						known[d.id] = true
						r.append(d)
					}
				}
				got = append(got, r.persist(hand...)...)
			}
			if !slices.Equal(got, tc.want) {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
			r.whole()
		})
	}
}

func upper(s string) string {
	b := []byte(s)
	for i := range b {
		if 'a' <= b[i] && b[i] <= 'f' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// entitled makes every event of today and yesterday owed, as provisioning does.
func entitled(t *testing.T, r *rig) {
	t.Helper()
	r.db.Exec(`INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since)
		SELECT 'pcm-ofb', 'ofb', f, '00000000-0000-7000-8000-000000000000' FROM unnest(array['interaction', 'consent', 'payment', 'portability', 'enrollment']) f`)
}

// Several copies of one event in one hand are met as if they had come one by one.
func TestCopiesWithinOneHand(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		before, hand func(d *draft) []*draft
		want         []Reason
	}{
		"three times the same": {nil, func(d *draft) []*draft { return []*draft{d, d.again(), d.again()} }, []Reason{Accepted, Duplicate, Duplicate}},
		"another payload in between": {nil, func(d *draft) []*draft { return []*draft{d, d.again(field("statusCode", 500)), d.again()} },
			[]Reason{Accepted, Conflict, Duplicate}},
		"another payload first, and the stored one behind it": {func(d *draft) []*draft { return []*draft{d} },
			func(d *draft) []*draft { return []*draft{d.again(field("statusCode", 500)), d.again()} }, []Reason{Conflict, Duplicate}},
		"broken, then whole": {nil, func(d *draft) []*draft { return []*draft{d.again(field("statusCode", 5000)), d} }, []Reason{"schema_invalid", Duplicate}},
		"two broken ones of one that was fine": {func(d *draft) []*draft { return []*draft{d} },
			func(d *draft) []*draft {
				return []*draft{d.again(field("statusCode", 5000)), d.again(field("statusCode", 6000)), d.again()}
			}, []Reason{Conflict, Conflict, Duplicate}},
		"an unreadable one of one that was fine": {func(d *draft) []*draft { return []*draft{d} },
			func(d *draft) []*draft { return []*draft{d.again(bytesOf("{"), header(d.id.String()))} }, []Reason{Conflict}},
		"an unreadable one, then a whole one": {nil,
			func(d *draft) []*draft { return []*draft{d.again(bytesOf("{"), header(d.id.String())), d} }, []Reason{"unreadable", Duplicate}},
		"unreadable, twice": {nil, func(d *draft) []*draft {
			return []*draft{d.again(bytesOf("{"), header(d.id.String())), d.again(bytesOf("{"), header(d.id.String()))}
		}, []Reason{"unreadable", "unreadable"}},
		"another tenant claims the id": {nil, func(d *draft) []*draft { return []*draft{d.again(of("nobody")), d} }, []Reason{"tenant_unknown", Accepted}},
		"another tenant claims the id of one that is there": {func(d *draft) []*draft { return []*draft{d} },
			func(d *draft) []*draft { return []*draft{d.again(column("tenant_id", globex))} }, []Reason{TenantMismatch}},
		"an outsider's copy of one that is there": {func(d *draft) []*draft { return []*draft{d} },
			func(d *draft) []*draft { return []*draft{d.again(on("interactions.globex.ofb"))} }, []Reason{Conflict}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStore(t, testenv.Postgres(t))
			entitled(t, r)
			d := newDraft()
			r.append(d)
			if tc.before != nil {
				r.persist(tc.before(d)...)
			}
			if got := r.persist(tc.hand(d)...); !slices.Equal(got, tc.want) {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
			r.whole()
			again := r.standing()
			r.persist(tc.hand(d)...)
			if got := r.standing(); got != again {
				t.Errorf("the same hand again:\ngot  %s\nwant %s", got, again)
			}
		})
	}
}

// A row that Postgres refuses is found among a hundred good ones by halving.
func TestOneRefusedRowAmongAHundred(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]string{
		"a constraint": `ALTER TABLE event_runtime.consumer_idempotency ADD CONSTRAINT refused CHECK (event_id <> '%s')`,
		"bad data": `CREATE FUNCTION event_runtime.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF new.event_id = '%s' THEN RAISE EXCEPTION 'out of range' USING errcode = '22003'; END IF; RETURN new; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON event_runtime.consumer_idempotency FOR EACH ROW EXECUTE FUNCTION event_runtime.refuse()`,
		"where it waits": `CREATE FUNCTION event_runtime.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF '%s' = any(new.event_ids) THEN RAISE EXCEPTION 'no' USING errcode = '23514'; END IF; RETURN new; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON event_runtime.lane_chunks FOR EACH ROW EXECUTE FUNCTION event_runtime.refuse()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStore(t, testenv.Postgres(t))
			entitled(t, r)
			hand := make([]*draft, 101)
			for i := range hand {
				hand[i] = newDraft()
			}
			r.append(hand...)
			bad := 67
			r.db.Exec(fmt.Sprintf(refuse, hand[bad].id))
			for i, reason := range r.persist(hand...) {
				want := Accepted
				if i == bad {
					want = Reason(event.Unstorable)
				}
				if reason != want {
					t.Errorf("message %d: got %s, want %s", i, reason, want)
				}
			}
			if got := r.place(acme, hand[bad].id); got != "quarantine:unstorable" {
				t.Errorf("got %q, want it in quarantine", got)
			}
			if got := r.count(`SELECT count(*) FROM event_runtime.quarantine WHERE detail LIKE 'sqlstate 2%'`); got != 1 {
				t.Errorf("got %d rows that name the SQLSTATE, want 1", got)
			}
			r.whole()
		})
	}
}

// A day that nobody made is a row Postgres refuses: the message goes before a
// person instead of coming again for ever.
func TestADayWithoutAPartition(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	old, good := newDraft(at(time.Now().AddDate(-1, 0, 0))), newDraft()
	r.append(good)
	if got, want := r.persist(old, good), []Reason{Reason(event.Unstorable), Accepted}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if got, want := r.persist(old.again()), []Reason{Duplicate}; !slices.Equal(got, want) {
		t.Errorf("again: got %v, want %v", got, want)
	}
	r.whole()
}

// What another transaction brings about is tried again, a few times.
func TestTransactionsThatMeet(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state    string
		failures int
		want     bool
	}{
		"a serialisation failure":              {"40001", 1, true},
		"two of them":                          {"40001", 2, true},
		"a deadlock":                           {"40P01", 2, true},
		"serialisation failures without end":   {"40001", 1 << 30, false},
		"a full disk is not tried again":       {"53100", 1, false},
		"nor is a server that is going down":   {"57P01", 1, false},
		"nor is a transaction that is too old": {"25P03", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStore(t, testenv.Postgres(t))
			entitled(t, r)
			r.db.Exec(fmt.Sprintf(`CREATE SEQUENCE event_runtime.tries; GRANT USAGE ON SEQUENCE event_runtime.tries TO runtime_worker;
				CREATE FUNCTION event_runtime.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('event_runtime.tries') <= %d THEN RAISE EXCEPTION 'not now' USING errcode = '%s'; END IF; RETURN new; END $$;
				CREATE TRIGGER fail BEFORE INSERT ON event_runtime.books FOR EACH ROW EXECUTE FUNCTION event_runtime.fail()`, tc.failures, tc.state))
			d := newDraft()
			r.append(d)
			_, err := r.store().persist(t.Context(), r.classify(d))
			if (err == nil) != tc.want {
				t.Fatalf("got %v, want success %v", err, tc.want)
			}
			place := map[bool]string{true: "accepted", false: ""}[tc.want]
			if got := r.place(acme, d.id); got != place {
				t.Errorf("got %q, want %q", got, place)
			}
			if tc.want {
				r.whole()
			}
		})
	}
}

// Two workers have copies of one event, or events of one report key, in their
// hands at the same moment: whoever commits first, the books balance.
func TestTwoHandsAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		hands func() (first, second []*draft)
		want  []Reason // of both, sorted
	}{
		"the same event": {func() ([]*draft, []*draft) {
			d := newDraft()
			return []*draft{d}, []*draft{d.again()}
		}, []Reason{Accepted, Duplicate}},
		"another payload": {func() ([]*draft, []*draft) {
			d := newDraft()
			return []*draft{d}, []*draft{d.again(field("statusCode", 500))}
		}, []Reason{Accepted, Conflict}},
		"one key on two days": {func() ([]*draft, []*draft) {
			key := uuid.NewString()
			return []*draft{newDraft(interaction(key))}, []*draft{newDraft(interaction(key), at(yesterday()))}
		}, []Reason{Accepted, IDReused}},
		"two keys, crosswise": {func() ([]*draft, []*draft) {
			a, b := uuid.NewString(), uuid.NewString()
			return []*draft{newDraft(interaction(a)), newDraft(interaction(b))}, []*draft{newDraft(interaction(b)), newDraft(interaction(a))}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStore(t, testenv.Postgres(t))
			entitled(t, r)
			first, second := tc.hands()
			known := map[event.ID]bool{}
			for _, d := range slices.Concat(first, second) {
				if !known[d.id] {
					known[d.id] = true
					r.append(d)
				}
			}
			got := r.together(first, second)
			if slices.Sort(got); tc.want != nil && !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			r.whole()
		})
	}
}

// A broken copy is being set aside while a whole one is being accepted. In
// whichever order they commit, the event has one place.
func TestABrokenCopyAndAWholeOneAtOnce(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	for range 8 {
		d := newDraft()
		r.append(d)
		r.together([]*draft{d}, []*draft{d.again(field("statusCode", 5000))})
		if got := r.place(acme, d.id); got != "accepted" && got != "quarantine:schema_invalid" {
			t.Errorf("got %q, want one place", got)
		}
	}
	r.whole()
}

// together holds both transactions where they are about to close, so that
// neither can see what the other one wrote, and lets them go on.
func (r *rig) together(first, second []*draft) (all []Reason) {
	r.t.Helper()
	held := r.db.Conn(testenv.Superuser)
	if _, err := held.Exec(r.t.Context(), `SELECT pg_advisory_lock(hashtextextended('event_runtime.consumer.pcm-ofb.acme-bank', 0))`); err != nil {
		r.t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, hand := range [][]*draft{first, second} {
		decisions := r.classify(hand...)
		group.Go(func() {
			met, err := r.store().persist(r.t.Context(), decisions)
			if err != nil {
				r.t.Errorf("persist: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, d := range met {
				all = append(all, d.Reason)
			}
		})
	}
	eventually(r.t, "both wait for a lock", func() bool {
		return r.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= 2
	})
	if _, err := held.Exec(r.t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		r.t.Fatal(err)
	}
	group.Wait()
	_ = held.Close(context.WithoutCancel(r.t.Context()))
	return all
}

// Hands that hold each other's events in opposite order never wait for each
// other for ever.
func TestHandsInOppositeOrder(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	var all []*draft
	for n := range 60 {
		d := newDraft()
		switch n % 3 {
		case 1:
			d = newDraft(of(globex))
		case 2:
			d = newDraft(field("statusCode", 5000))
		}
		all = append(all, d)
	}
	r.append(all...)
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			hand := slices.Clone(all)
			if n%2 == 1 {
				slices.Reverse(hand)
			}
			for try := range 3 {
				if _, err := r.store().persist(t.Context(), r.classify(hand...)); err != nil {
					t.Errorf("worker %d, hand %d: %v", n, try, err)
				}
			}
		})
	}
	group.Wait()
	if got := r.count(`SELECT count(*) FROM event_runtime.consumer_idempotency`); got != 40 {
		t.Errorf("got %d rows, want 40", got)
	}
	r.whole()
}

// One message that makes the handler panic does not stop the others: it is given
// back twice and then goes before a person.
func TestPanic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := r.report
	trap := newDraft(field("correlationId", "springs"))
	old := newDraft()
	r.append(old, trap)
	r.persist(old) // accepted by a release that did not panic
	r.report = reporter(func(e *event.Envelope) (submit.Report, error) {
		if e.EventID == trap.id || e.EventID == old.id {
			panic("the cause holds 529.982.247-25")
		}
		return good.Report(e, r.tenants.Snapshot())
	})
	others := []*draft{newDraft(), newDraft()}
	r.append(others...)
	r.publish(others[0], trap, old, others[1])
	stop := r.start()
	r.settled()
	stop()
	for name, tc := range map[string]struct {
		d    *draft
		want string
	}{
		"before it": {others[0], "accepted"}, "behind it": {others[1], "accepted"},
		"the message":                      {trap, "quarantine:handler_panic"},
		"a copy of one that was fine once": {old, "accepted"},
	} {
		if got := r.place(acme, tc.d.id); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	if got := r.logs.named("consumer.handler_panicked"); got != 6 {
		t.Errorf("got %d lines, want one for each of three deliveries of two messages", got)
	}
	if got := r.durable(transport.Interactions).Delivered.Consumer; got != 4+2*2 {
		t.Errorf("got %d deliveries, want 8", got)
	}
	r.whole()
}

var errReporter = errors.New("reporter")

// A rule that changes between two deliveries changes nothing about an event that
// has its row.
func TestADecisionIsMadeOnce(t *testing.T) {
	t.Parallel()
	r := newStore(t, testenv.Postgres(t))
	entitled(t, r)
	d := newDraft()
	r.append(d)
	hand := r.classify(d)
	if _, err := r.store().persist(t.Context(), hand); err != nil {
		t.Fatal(err)
	}
	known := r.known()
	for _, answer := range []error{submit.Ineligible("changed_since"), errReporter} {
		known.Report = reporter(func(*event.Envelope) (submit.Report, error) { return submit.Report{}, answer })
		met, err := r.store().persist(t.Context(), []Decision{Classify(d.delivered(2), known)})
		if err != nil {
			t.Fatal(err)
		}
		if got := met[0].Reason; got != Duplicate {
			t.Errorf("%v: got %s, want duplicate", answer, got)
		}
	}
	if got := r.place(acme, d.id); got != "accepted" {
		t.Errorf("got %q, want what was decided first", got)
	}
	known.Tenants = tenant.NewSnapshot(nil) // the tenant is gone
	if met, err := r.store().persist(t.Context(), []Decision{Classify(d.delivered(3), known)}); err != nil || met[0].Reason != Duplicate {
		t.Errorf("the tenant is gone: got %v, %v, want duplicate", met, err)
	}
	r.whole()
}

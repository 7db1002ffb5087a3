package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/finnest/event-runtime/capture"
	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/outbox"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// most calls under way at once; beyond that the traffic falls behind its rate
// instead of piling up.
const mostCalls = 64

func (m *Market) setRate(events float64) {
	m.mu.Lock()
	m.rate = events
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *Market) currentRate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rate
}

func (m *Market) count(kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[kind]++
}

// traffic makes calls at the current rate until ctx ends, and waits for those
// under way.
func (m *Market) traffic(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, mostCalls)
	next := time.Now()
	for ctx.Err() == nil {
		rate := m.currentRate()
		if rate <= 0 {
			select {
			case <-ctx.Done():
			case <-m.changed:
			}
			next = time.Now()
			continue
		}
		next = next.Add(time.Duration(float64(time.Second) / rate))
		if behind := time.Since(next); behind > time.Second {
			next = time.Now() // the machine does not manage it: no burst afterwards
		}
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
			continue
		case <-time.After(time.Until(next)):
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			m.something(context.WithoutCancel(ctx))
		})
	}
}

// something is one call, mostly good; some fail, some are not the regulator's
// business, and a few are poison.
func (m *Market) something(ctx context.Context) {
	banks := Banks()
	bank := m.sides[banks[rand.IntN(len(banks))].Tenant]
	switch dice := rand.IntN(1000); {
	case dice < 5:
		m.poison(ctx, bank.Bank)
	case dice < 15:
		m.event(ctx, bank.Bank)
	case dice < 25:
		m.isCalled(ctx, bank, ofb.Operation{Method: http.MethodGet, Template: "/internal/health"}, http.StatusOK, "unlisted")
	case dice < 75:
		m.isVisited(ctx)
	case dice < 500:
		m.isCalled(ctx, bank, m.calls[rand.IntN(len(m.calls))], status(), "server")
	default:
		m.calling(ctx, bank, m.calls[rand.IntN(len(m.calls))], status(), "client")
	}
}

// status is how the called bank answers.
func status() int {
	switch dice := rand.IntN(100); {
	case dice < 88:
		return http.StatusOK
	case dice < 95:
		return []int{400, 401, 404, 422, 429}[rand.IntN(5)]
	default:
		return []int{500, 503, 504}[rand.IntN(3)]
	}
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// isCalled is a call that a partner makes to one of our banks: a SERVER report.
func (m *Market) isCalled(ctx context.Context, bank *side, op ofb.Operation, status int, kind string) {
	m.call(ctx, m.partner, bank.Tenant, Partner(), op, status, kind)
}

// isVisited is a call of open data: anybody's, so no institution's name is on it.
func (m *Market) isVisited(ctx context.Context) {
	for _, bank := range Banks() {
		if bank.OpenData {
			visitor := fmt.Sprintf("203.0.113.%d", 1+rand.IntN(254))
			m.call(ctx, m.partner, bank.Tenant, "", m.open[rand.IntN(len(m.open))], status(), "open_data", forwardedHeader, visitor)
		}
	}
}

// calling is a call of one of our banks to a partner: a CLIENT report.
func (m *Market) calling(ctx context.Context, bank *side, op ofb.Operation, status int, kind string) {
	m.call(capture.WithEndpoint(ctx, op.Template), bank.client, "partner", bank.Organisation, op, status, kind)
}

func (m *Market) call(ctx context.Context, client *http.Client, callee, caller string, op ofb.Operation, status int, kind string, headers ...string) {
	path := placeholder.ReplaceAllStringFunc(op.Template, func(string) string { return uuid.NewString() })
	req, err := http.NewRequestWithContext(ctx, op.Method, "http://"+m.addr+"/"+callee+path, nil)
	if err != nil {
		m.count("failed")
		return
	}
	req.Header.Set(statusHeader, strconv.Itoa(status))
	req.Header.Set(callerHeader, caller)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		m.count("failed")
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	m.count(kind)
}

// control is one call by the control tenant, so that something must be visible.
func (m *Market) control(ctx context.Context) {
	m.calling(ctx, m.sides[Control().Tenant], m.calls[0], http.StatusOK, "control")
}

// event is a semantic event, appended with a business change.
func (m *Market) event(ctx context.Context, b Bank) {
	err := pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		_, err := outbox.Append(ctx, tx, outbox.Event{TenantID: b.Tenant, Ecosystem: "ofb", Type: "consent.advanced", AggregateType: "consent",
			AggregateID: uuid.NewString(), Source: "demo-bank", Payload: map[string]string{"state": "AUTHORISED", "previousState": "AWAITING_AUTHORISATION"}})
		return err
	})
	if err != nil {
		m.count("failed")
		return
	}
	m.count("semantic")
}

// poisons are what a careless producer in another language might append: the
// outbox takes them, and every consumer must survive them.
var poisons = []struct{ kind, tenant, eventType, source, payload string }{
	{"poison:schema_invalid", "", "interaction.completed", "", `{"statusCode":"two hundred"}`},
	{"poison:schema_unknown", "", "interaction.guessed", "", `{}`},
	{"poison:tenant_unknown", "nobody", "interaction.completed", "", goodPayload},
	{"poison:personal_data", "", "interaction.completed", "written by CPF 529.982.247-25", goodPayload},
	{"poison:unstorable", "", "interaction.completed", "", `{"n":9007199254740993}`},
	{"poison:organisation_unknown", "", "interaction.completed", "", goodPayload},
}

const goodPayload = `{"role":"SERVER","fapiInteractionId":"%s","endpoint":"/open-banking/accounts/v2/accounts","httpMethod":"GET","statusCode":200,` +
	`"timestamp":"%s","processTimespan":12.5,"clientOrgId":"99999999-9999-4999-8999-999999999999","serverOrgId":"99999999-9999-4999-8999-999999999998"}`

const sqlPoison = `
SELECT event_runtime.append_event(@tenant, 'ofb', @type, @payload::jsonb, source => nullif(@source, ''))`

func (m *Market) poison(ctx context.Context, b Bank) {
	p := poisons[rand.IntN(len(poisons))]
	payload := p.payload
	if payload == goodPayload {
		payload = fmt.Sprintf(goodPayload, uuid.NewString(), time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	tenant := b.Tenant
	if p.tenant != "" {
		tenant = p.tenant
	}
	if _, err := m.pool.Exec(ctx, sqlPoison, pgx.NamedArgs{"tenant": tenant, "type": p.eventType, "payload": payload, "source": p.source}); err != nil {
		m.count("failed")
		return
	}
	m.count(p.kind)
}

package ofb

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// DayRow is one organisation's day at one endpoint and method. A day is a date in
// GMT, as in the ticket rules, and belongs to the calls, not to their reports.
type DayRow struct {
	Organisation string         `json:"organisation"`
	Day          string         `json:"day"`
	Endpoint     string         `json:"endpoint"` // empty: discarded, and the endpoint is not listed
	Method       string         `json:"method"`
	Received     int            `json:"received"` // held copies of its own reports
	By8GMT       int            `json:"by_0800_gmt"`
	By8BRT       int            `json:"by_0800_brt"`
	ByD7         int            `json:"by_d7"`
	Discarded    int            `json:"discarded"`
	States       map[string]int `json:"states"`
	Missing      int            `json:"missing"` // reports of others against it that stay UNPAIRED
	Sent         int            `json:"sent_99"`
	NotPaired    int            `json:"not_paired_99"`
	Daily95GMT   *float64       `json:"daily_95_gmt"` // per cent; null: nothing expected
	Daily95BRT   *float64       `json:"daily_95_brt"`
	Final99      *float64       `json:"final_99"`
}

const (
	// deadline is 08:00 of the next day. Two documents disagree about whose 08:00.
	deadline = 32 * time.Hour
	brasilia = 3 * time.Hour // behind GMT, without summer time since 2019

	// patience is how long a client must have waited before its 408 excuses both sides.
	patience = 15_000.0
)

type dayKey struct {
	org, endpoint uint16
	method        uint8
	day           int64 // days since 1970
}

// days computes the figures of the ticket rules from all copies there are.
func (s *store) days() []DayRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleLocked()
	rows := map[dayKey]*DayRow{}
	for i := range s.arrivals.n {
		a := s.arrivals.at(i)
		if a.state == notStored {
			continue
		}
		s.count(s.dayRow(rows, a, a.party), a)
		if a.state == unpaired {
			row := s.dayRow(rows, a, a.against())
			row.Missing++
			row.NotPaired++
		}
	}
	list := make([]DayRow, 0, len(rows))
	for _, r := range rows {
		r.Daily95GMT = share(r.By8GMT, r.By8GMT+r.Missing)
		r.Daily95BRT = share(r.By8BRT, r.By8BRT+r.Missing)
		r.Final99 = share(r.Sent, r.Sent+r.NotPaired)
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b DayRow) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Organisation, b.Organisation),
			cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Method, b.Method))
	})
	return list
}

func (s *store) dayRow(rows map[dayKey]*DayRow, a *arrival, org uint16) *DayRow {
	day := a.day()
	k := dayKey{org: org, endpoint: a.endpoint, method: a.method, day: day}
	if rows[k] == nil {
		rows[k] = &DayRow{
			Organisation: s.names.list[org], Day: time.Unix(day*86400, 0).UTC().Format(time.DateOnly),
			Endpoint: s.names.list[a.endpoint], Method: methodName(a.method), States: map[string]int{},
		}
	}
	return rows[k]
}

// day is the date of the call, or of reception where the timestamp was unreadable.
func (a *arrival) day() int64 {
	t := a.timestamp
	if t == 0 {
		t = a.at
	}
	return fromMillis(t).Unix() / 86400
}

// against is the organisation from which the report waits for its other half.
func (a *arrival) against() uint16 {
	if a.role == client {
		return a.server
	}
	return a.client
}

func (s *store) count(row *DayRow, a *arrival) {
	row.States[a.state.String()]++
	if !a.state.held() {
		row.Discarded++
		return
	}
	row.Received++
	midnight := time.Unix(a.day()*86400, 0)
	at := fromMillis(a.at)
	if !at.After(midnight.Add(deadline)) {
		row.By8GMT++
	}
	if !at.After(midnight.Add(deadline + brasilia)) {
		row.By8BRT++
	}
	if a.at-a.timestamp <= maxAge.Milliseconds() {
		row.ByD7++
	}
	switch {
	case a.state == paired, a.state == inconsistent && s.excused(a):
		row.Sent++
	case a.state == inconsistent:
		row.NotPaired++
	}
}

// excused reports whether the pair differs because the client gave up waiting: then
// both sides count as sent.
func (s *store) excused(a *arrival) bool {
	timeout := func(b *arrival) bool {
		return b.role == client && b.status == http.StatusRequestTimeout && b.timespan > patience
	}
	return timeout(a) || a.partner != none && timeout(s.arrivals.at(a.partner))
}

func share(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	v := float64(part) / float64(whole) * 100
	return &v
}

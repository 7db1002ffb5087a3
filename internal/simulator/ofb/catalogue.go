package ofb

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strings"
	"time"
)

//go:embed data/endpoints.csv
var endpointsCSV []byte

// catalogue is the list of endpoint templates one report API accepts, each with
// the days between which it is listed. PCM lists templates without methods, so a
// method is never checked against it.
type catalogue map[string]listing

type listing struct {
	template string
	family   string
	since    time.Time // zero: in the oldest list known, so its start is not
	until    time.Time // zero: still listed
}

// oldestList is the version whose templates have no known first day.
const oldestList = "v1.03"

// readCatalogue keeps the rows of one API.
func readCatalogue(raw []byte, api string) (catalogue, error) {
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("endpoint catalogue: %w", err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	list := catalogue{}
	for _, row := range rows[1:] {
		if row[column["pcm_api"]] != api {
			continue
		}
		l := listing{template: row[column["template"]], family: row[column["family"]]}
		if l.since, l.until, err = validity(row[column["listed_since"]], row[column["list_state"]]); err != nil {
			return nil, fmt.Errorf("endpoint catalogue: %s: %w", l.template, err)
		}
		list[l.template] = l
	}
	return list, nil
}

// validity reads "v1.05 2026-06-22" and "removed 2026-08-26". A day begins at
// midnight UTC; the release notes give no hour.
func validity(listed, state string) (since, until time.Time, err error) {
	version, day, _ := strings.Cut(listed, " ")
	if version != oldestList {
		if since, err = time.Parse(time.DateOnly, day); err != nil {
			return since, until, err
		}
	}
	if day, removed := strings.CutPrefix(state, "removed "); removed {
		until, err = time.Parse(time.DateOnly, day)
	}
	return since, until, err
}

// find returns the listing of template if it is listed at now.
func (c catalogue) find(template []byte, now time.Time) (listing, bool) {
	l, ok := c[string(template)]
	if !ok || now.Before(l.since) || !l.until.IsZero() && !now.Before(l.until) {
		return listing{}, false
	}
	return l, true
}

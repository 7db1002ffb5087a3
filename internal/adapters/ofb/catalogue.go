package ofb

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed data/endpoints.csv
var endpointsCSV []byte

// APIs of the catalogue.
const (
	Private           = "private"
	OpenData          = "opendata"
	CreditPortability = "credit-portability"
)

// Endpoint is one template that may be reported, as the platform spells it.
type Endpoint struct {
	API      string
	Template string
	Client   bool // the calling side reports it
	Server   bool // the called side reports it
	From     time.Time
	Until    time.Time // zero: no end
}

// Catalogue finds endpoints by template. Placeholders match whatever they are
// called: a bank's own {id} is the platform's {accountId}.
type Catalogue struct {
	sum        [32]byte // of the file
	byShape    map[string][]Endpoint
	operations map[string][]Operation // in force, by API
	count      int                    // templates in force
}

// Operation is a method of a template. The platform lists templates only: which
// methods exist is the business APIs' own word.
type Operation struct{ Method, Template string }

var (
	placeholder  = regexp.MustCompile(`\{[^{}/]*\}`)
	listedSince  = regexp.MustCompile(`(\d{4}-\d{2}-\d{2})$`)
	removedState = regexp.MustCompile(`^removed (\d{4}-\d{2}-\d{2})$`)
)

// shape is a template without the names of its placeholders.
func shape(template string) string { return placeholder.ReplaceAllString(template, "{}") }

// DefaultCatalogue is the one this release was built with.
func DefaultCatalogue() (*Catalogue, error) { return ParseCatalogue(endpointsCSV) }

// openCatalogue is the one in a file, or this release's where there is none.
func openCatalogue(path string) (*Catalogue, error) {
	if path == "" {
		return DefaultCatalogue()
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("endpoint catalogue: %w", err)
	}
	return ParseCatalogue(file)
}

// ParseCatalogue reads a catalogue file. A row that it cannot understand is an
// error that names its line: a silent gap would be a missing report.
func ParseCatalogue(file []byte) (*Catalogue, error) {
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("endpoint catalogue: %w", err)
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("endpoint catalogue: no rows")
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"pcm_api", "method", "template", "reporting_roles", "list_state", "listed_since"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("endpoint catalogue: column %s is missing", name)
		}
	}
	c := &Catalogue{sum: sha256.Sum256(file), byShape: map[string][]Endpoint{}, operations: map[string][]Operation{}}
	for n, row := range rows[1:] {
		e, err := parseEndpoint(func(name string) string { return strings.TrimSpace(row[column[name]]) })
		if err != nil {
			return nil, fmt.Errorf("endpoint catalogue, line %d: %w", n+2, err)
		}
		c.add(e)
		if e.Until.IsZero() {
			c.operations[e.API] = append(c.operations[e.API], Operation{strings.TrimSpace(row[column["method"]]), e.Template})
		}
	}
	return c, nil
}

func parseEndpoint(field func(string) string) (Endpoint, error) {
	e := Endpoint{API: field("pcm_api"), Template: field("template")}
	switch e.API {
	case Private, OpenData, CreditPortability:
	default:
		return e, fmt.Errorf("pcm_api %q is unknown", e.API)
	}
	if !strings.HasPrefix(e.Template, "/") {
		return e, fmt.Errorf("template %q does not begin with /", e.Template)
	}
	for _, role := range strings.Split(field("reporting_roles"), "+") {
		switch role {
		case "CLIENT":
			e.Client = true
		case "SERVER":
			e.Server = true
		default:
			return e, fmt.Errorf("reporting role %q is unknown", role)
		}
	}
	since := listedSince.FindString(field("listed_since"))
	var err error
	if e.From, err = time.Parse(time.DateOnly, since); err != nil {
		return e, fmt.Errorf("listed_since has no date")
	}
	state := field("list_state")
	if removed := removedState.FindStringSubmatch(state); removed != nil {
		e.Until, err = time.Parse(time.DateOnly, removed[1])
		return e, err
	}
	if state != "current" {
		return e, fmt.Errorf("list_state %q is unknown", state)
	}
	return e, nil
}

// add keeps one entry a template: the file has a row for each method too.
func (c *Catalogue) add(e Endpoint) {
	key := shape(e.Template)
	for _, known := range c.byShape[key] {
		if known.Template == e.Template && known.API == e.API {
			return
		}
	}
	c.byShape[key] = append(c.byShape[key], e)
	if e.Until.IsZero() {
		c.count++
	}
}

// Len is how many templates are in force.
func (c *Catalogue) Len() int { return c.count }

// Operations lists what is in force, in the file's order.
func (c *Catalogue) Operations(api string) []Operation { return slices.Clone(c.operations[api]) }

// Find looks a template up as it is listed at some moment. What stands before
// /open-banking is the institution's own prefix.
func (c *Catalogue) Find(template string, at time.Time) (Endpoint, bool) {
	if i := strings.Index(template, "/open-banking/"); i > 0 {
		template = template[i:]
	}
	for _, e := range c.byShape[shape(template)] {
		if e.Until.IsZero() || at.Before(e.Until) {
			return e, true
		}
	}
	return Endpoint{}, false
}

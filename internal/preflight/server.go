package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
)

// Server is a running Sequin's management API.
type Server struct {
	URL    string
	Token  string // an API token of Sequin's
	Client *http.Client
}

// NewServer refuses an address that is none.
func NewServer(address, token string) (*Server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the address of Sequin is scheme, host and port, such as http://sequin:7376")
	}
	return &Server{URL: strings.TrimRight(address, "/"), Token: token, Client: &http.Client{
		Timeout: askWithin, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token goes nowhere else
	}}, nil
}

const (
	askWithin = 15 * time.Second
	mostBytes = 4 << 20
)

// Running asks a server what it runs, and holds that against the file. Facts are
// what it did not say, so that nobody takes silence for health.
func Running(ctx context.Context, s *Server, f *File) (found []Finding, facts []string, err error) {
	r := &running{ctx: ctx, server: s, want: f}
	if err := r.alive(); err != nil {
		return r.found, r.facts, err
	}
	if err := r.exported(); err != nil {
		return r.found, r.facts, err
	}
	r.drift()
	return r.found, r.facts, r.health()
}

type running struct {
	ctx    context.Context
	server *Server
	want   *File
	have   *File
	found  []Finding
	facts  []string
}

func (r *running) add(where, what, why, do string) {
	r.found = append(r.found, Finding{"sequin: " + where, what, why, do})
}

// get reads one answer. Sequin's words are shown, without what looks personal.
func (r *running) get(path string, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.server.URL+path, nil)
	if err != nil {
		return 0, err
	}
	if req.Header.Set("Accept", "application/json"); strings.HasPrefix(path, "/api/") {
		req.Header.Set("Authorization", "Bearer "+r.server.Token)
	}
	res, err := r.server.Client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask Sequin for %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostBytes))
	if err != nil {
		return res.StatusCode, fmt.Errorf("ask Sequin for %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return res.StatusCode, fmt.Errorf("the answer to %s is not what it is documented to be", path)
	}
	return res.StatusCode, nil
}

// must is for what has to be answered.
func (r *running) must(path string, into any) error {
	switch status, err := r.get(path, into); {
	case err != nil:
		return err
	case status == http.StatusUnauthorized:
		return errors.New("the token is not known to Sequin: give --sequin-token one of its api_tokens")
	case status != http.StatusOK:
		return fmt.Errorf("status %d for %s", status, path)
	}
	return nil
}

// alive asks for no more than Sequin's own Postgres and Redis: it is green while
// the slot is lost.
func (r *running) alive() error {
	var said struct {
		OK  bool
		Rev string
	}
	status, err := r.get("/health", &said)
	if err != nil {
		return err
	}
	if status != http.StatusOK || !said.OK {
		r.add("/health", fmt.Sprintf("status %d", status), "its own Postgres or Redis is away, so it delivers nothing", "look at Sequin's log")
		return nil
	}
	r.facts = append(r.facts, "sequin: revision "+denylist.Clean(said.Rev)+"; /health is green, which says nothing about slot and sinks")
	return nil
}

// exported reads what is configured there, as a file.
func (r *running) exported() error {
	var said struct{ YAML string }
	if err := r.must("/api/config/export", &said); err != nil {
		return err
	}
	// What is wrong with it is no finding: it is compared with a file that was
	// looked at, and sinks that are not ours may be as they like.
	have, _, err := ReadFile([]byte(said.YAML), nil, Options{})
	if err != nil {
		return fmt.Errorf("the export of Sequin cannot be read: %w", err)
	}
	r.have = have
	return nil
}

// health asks after the sink of the file.
func (r *running) health() error {
	for _, s := range r.want.parsed.Sinks {
		if s.Status == "disabled" {
			continue
		}
		if _, there := r.have.raw.named("sinks", s.Name); !there {
			continue // a finding already
		}
		var said struct {
			Health *struct {
				Status string
				Checks []struct{ Name, Status, Error string }
			}
		}
		if err := r.must("/api/sinks/"+url.PathEscape(s.Name), &said); err != nil {
			return err
		}
		if said.Health == nil || said.Health.Status == "" {
			r.facts = append(r.facts, "sequin: "+s.Name+": its answer says nothing about health")
			continue
		}
		r.ill(s.Name, said.Health.Status, said.Health.Checks)
	}
	return nil
}

// ill tells each check that is not well. A notice is none: replica identity is
// not FULL, which inserts do not need.
func (r *running) ill(name, status string, checks []struct{ Name, Status, Error string }) {
	where := "sinks[" + name + "] health"
	told := false
	for _, c := range checks {
		if c.Status == "healthy" || c.Status == "notice" {
			continue
		}
		told = true
		what := c.Name + ": " + c.Status
		if c.Error != "" {
			what += ": " + c.Error
		}
		r.add(where, denylist.Clean(what), "rows wait, and with enough of them the whole slot", "look at the endpoint or server that it delivers to, and at Sequin's log")
	}
	if status != "healthy" && !told {
		r.add(where, denylist.Clean(status), "rows may wait, and with enough of them the whole slot", "look at the sink in Sequin's console")
	}
}

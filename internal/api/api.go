// Package api is the HTTP surface.
//
// Promise: /livez says whether this process turns, /readyz whether it can do its
//
//	work and, if not, why.
//
// State:   none.
// Failure: a port that cannot be had ends the process: nobody would see it.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Config is where to listen.
type Config struct {
	Addr string `env:"ADDR, default=127.0.0.1:8080"`
}

// Check is one reason why a process could be not ready. It answers "" when all
// is well.
type Check struct {
	Name string
	Do   func(ctx context.Context) string
}

// Server serves health, metrics, and what is mounted.
type Server struct {
	mounted map[string]http.Handler
	cfg     Config
	checks  []Check
	metrics http.Handler
	log     zerolog.Logger
}

// New starts nothing.
func New(cfg Config, metrics http.Handler, log zerolog.Logger, checks ...Check) *Server {
	return &Server{mounted: map[string]http.Handler{}, cfg: cfg, checks: checks, metrics: metrics, log: log}
}

// Mount adds a route before Run; pattern is as http.ServeMux has it.
func (s *Server) Mount(pattern string, h http.Handler) { s.mounted[pattern] = h }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Addr, err)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(last)
	})
	defer stop()
	s.log.Info().Str("event", "http.listening").Str("addr", listener.Addr().String()).Send()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

// Handler is the routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, s.reasons(r.Context())) })
	mux.Handle("GET /metrics", s.metrics)
	for pattern, h := range s.mounted {
		mux.Handle(pattern, h)
	}
	return mux
}

// reasons asks every check, all of them within two seconds.
func (s *Server) reasons(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found := map[string]string{}
	for _, c := range s.checks {
		if why := c.Do(ctx); why != "" {
			found[c.Name] = why
		}
	}
	return found
}

func answer(w http.ResponseWriter, reasons map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	status := "ok"
	if len(reasons) > 0 {
		status = "not ready"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		Status  string            `json:"status"`
		Reasons map[string]string `json:"reasons,omitempty"`
	}{status, reasons})
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/finnest/event-runtime/internal/preflight"
	"github.com/jackc/pgx/v5"
)

type sequinCommand struct {
	Check sequinCheck `cmd:"" help:"Hold Sequin's file, the database it reads and the server that runs against what this release needs; exit 0 fine, 1 findings, 2 something could not be read."`
}

type sequinCheck struct {
	File        string `arg:"" optional:"" help:"A sequin.yaml or sequin.bridge.yaml; variables are filled in from this environment."`
	DatabaseURL string `env:"DATABASE_URL" help:"Look at the database too; as any role that may connect."`
	SequinURL   string `env:"SEQUIN_URL" help:"Look at the server too, such as http://sequin:7376."`
	SequinToken string `default:"env:SEQUIN_API_TOKEN" help:"Reference (file: or env:) to one of its API tokens."`
	BridgeBatch int    `env:"BRIDGE_BATCH_SIZE" default:"50" help:"As the workers have it."`
	JSON        bool   `name:"json" help:"Print the report as JSON."`
}

// Exit statuses of the check.
const (
	notAsNeeded exit = 1
	notRead     exit = 2
)

// checked is what the check has to say.
type checked struct {
	File     string              `json:"file"`
	Shape    preflight.Shape     `json:"shape"`
	Findings []preflight.Finding `json:"findings"`
	Facts    []string            `json:"facts"`
	Unread   []string            `json:"unread"` // what could not be looked at, and why
	Exit     int                 `json:"exit"`
}

func (c sequinCheck) Run(ctx context.Context, o output) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r := checked{File: c.File, Findings: []preflight.Finding{}, Facts: []string{}, Unread: []string{}}
	c.look(ctx, &r)
	switch {
	case len(r.Unread) > 0:
		r.Exit = int(notRead)
	case len(r.Findings) > 0:
		r.Exit = int(notAsNeeded)
	}
	if err := c.print(o, r); err != nil {
		return err
	}
	if r.Exit != 0 {
		return exit(r.Exit)
	}
	return nil
}

// look looks at everything that was named, also when one part cannot be read.
func (c sequinCheck) look(ctx context.Context, r *checked) {
	file, err := c.file(r)
	if err != nil {
		r.Unread = append(r.Unread, err.Error())
		return
	}
	r.Shape = file.Shape
	for _, part := range []struct {
		name, address, flag string
		look                func(context.Context, *preflight.File) ([]preflight.Finding, []string, error)
	}{{"database", c.DatabaseURL, "--database-url", c.database}, {"sequin", c.SequinURL, "--sequin-url", c.server}} {
		if part.address == "" {
			r.Facts = append(r.Facts, part.name+": not looked at; "+part.flag+" names it")
			continue
		}
		found, facts, err := part.look(ctx, file)
		r.Findings, r.Facts = append(r.Findings, found...), append(r.Facts, facts...)
		if err != nil {
			r.Unread = append(r.Unread, part.name+": "+err.Error())
		}
	}
}

func (c sequinCheck) file(r *checked) (*preflight.File, error) {
	if c.File == "" {
		return nil, errors.New("sequin check: name the file, as in `event-runtime sequin check sequin.yaml`")
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return nil, err
	}
	file, found, err := preflight.ReadFile(text, os.Environ(), preflight.Options{BridgeBatch: c.BridgeBatch})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	r.Findings = append(r.Findings, found...)
	return file, nil
}

func (c sequinCheck) database(ctx context.Context, f *preflight.File) ([]preflight.Finding, []string, error) {
	cfg, err := pgx.ParseConfig(c.DatabaseURL)
	if err != nil {
		return nil, nil, errors.New("--database-url is not a database address; want one such as postgres://runtime_readonly@localhost/runtime") // without a password that may be in it
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return preflight.Database(ctx, conn, f)
}

func (c sequinCheck) server(ctx context.Context, f *preflight.File) ([]preflight.Finding, []string, error) {
	token, err := credential.Read(c.SequinToken)
	if err != nil {
		return nil, nil, fmt.Errorf("--sequin-token: %w", err)
	}
	s, err := preflight.NewServer(c.SequinURL, string(bytes.TrimSpace(token)))
	if err != nil {
		return nil, nil, fmt.Errorf("--sequin-url: %w", err)
	}
	return preflight.Running(ctx, s, f)
}

func (c sequinCheck) print(o output, r checked) error {
	if c.JSON {
		return json.NewEncoder(o.out).Encode(r)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(o.out, "%s: %s\n  why  %s\n  do   %s\n", f.Where, f.What, f.Why, f.Do)
	}
	for _, line := range r.Facts {
		fmt.Fprintln(o.out, line)
	}
	for _, line := range r.Unread {
		fmt.Fprintln(o.err, "event-runtime:", line)
	}
	if r.Exit != int(notRead) {
		fmt.Fprintln(o.out, map[bool]string{true: "fine", false: "not as it must be"}[r.Exit == 0])
	}
	return nil
}

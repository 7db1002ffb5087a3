package local

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 200 * time.Millisecond
)

// StartPostgres starts the cluster in cfg.Dir, making it first where it is
// missing, and returns when it accepts connections. A server that is still at
// work there is taken over.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	return startAs(ctx, cfg, chooseAccount)
}

func startAs(ctx context.Context, cfg PostgresConfig, choose func(binaries) (account, error)) (*Postgres, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	claim, err := ClaimDir(dir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	log, err := openLog(filepath.Join(dir, "postgres.log"), defaultLogBytes)
	if err != nil {
		claim.Release()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	p := &Postgres{site: site{dir: dir}, log: log, claim: claim}
	if err := p.open(ctx, cfg, choose); err != nil {
		p.release()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return p, nil
}

func (p *Postgres) open(ctx context.Context, cfg PostgresConfig, choose func(binaries) (account, error)) (err error) {
	if p.secret, err = password(p.site.dir); err != nil {
		return err
	}
	if adopted, err := p.adopt(ctx); adopted || err != nil {
		return err
	}
	made, err := madeBy(p.site.data())
	if err != nil {
		return err
	}
	if p.site.bin, err = findBinaries(ctx, made); err != nil {
		return err
	}
	if p.site.user, err = choose(p.site.bin); err != nil {
		return err
	}
	if made == 0 {
		err = p.site.initialise(p.secret, cfg.Durable)
	} else {
		err = p.site.own()
	}
	if err != nil {
		return err
	}
	_, err = onPort(p.site.dir, cfg.Port, func(port int) error {
		p.port = port
		return p.run(ctx, cfg)
	})
	return err
}

// adopt takes over a server left behind, or ends what does not answer.
func (p *Postgres) adopt(ctx context.Context) (bool, error) {
	found, alive := findLeftover(p.site.data())
	if !alive {
		return false, endAll(ctx, p.site.data(), 0)
	}
	p.port = found.port
	if !found.answers(ctx, p.URL(superuser, superuser)) {
		return false, endAll(ctx, p.site.data(), found.pid)
	}
	go found.watch() //nolint:gosec // it watches the server, which outlives ctx
	p.proc = found
	return true, keepPort(p.site.dir, p.port)
}

func (p *Postgres) run(ctx context.Context, cfg PostgresConfig) error {
	if err := p.site.configure(cfg, p.port); err != nil {
		return err
	}
	cmd, started, err := p.site.command("postgres", func(server string) []string {
		return []string{"-D", filepath.Join(server, "data")}
	})
	if err != nil {
		return err
	}
	p.log.Mark()
	cmd.Stdout, cmd.Stderr = p.log, p.log
	child, err := Spawn(cmd, syscall.SIGQUIT)
	started()
	if err != nil {
		return fmt.Errorf("run postgres as %s: %w", p.site.user.name, err)
	}
	p.proc = child
	if err := p.ready(ctx); err != nil {
		p.Resume()
		child.end(syscall.SIGQUIT, immediateWithin)
		return err
	}
	return nil
}

// ready returns when the server lets the superuser in, or ends.
func (p *Postgres) ready(ctx context.Context) error {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // what has the port instead of us may accept and never answer
		defer cancel()
		select {
		case <-p.Done():
		case <-asking.Done():
		}
	}()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		lock, err := readLock(asking, p.URL(superuser, superuser))
		if err == nil && strings.HasPrefix(lock, strconv.Itoa(p.PID())+"\n") {
			return nil // and not a copy of this cluster that has the port
		}
		if strings.Contains(p.Log(), "password authentication failed") { // in our log: it is our server that refuses
			return fmt.Errorf("the password in %s is not this cluster's: put the right one back", filepath.Join(p.site.dir, passwordName))
		}
		select {
		case <-p.Done():
			return p.died()
		case <-ctx.Done():
			return fmt.Errorf("postgres on port %d is not ready: %w (%w)\n%s", p.port, context.Cause(ctx), err, p.Log())
		case <-time.After(wait):
		}
	}
}

func (p *Postgres) died() error {
	tail := p.Log()
	if strings.Contains(tail, "could not bind") {
		return fmt.Errorf("%w: %d\n%s", errPortTaken, p.port, tail)
	}
	return fmt.Errorf("postgres ended while starting: %w\n%s", p.Wait(), tail)
}

package local

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

// PostgresConfig describes a private cluster.
type PostgresConfig struct {
	Dir     string
	Port    int               // 0: the one used before, or a free one
	Durable bool              // as in production; else a crash of the machine may cost the cluster
	Trust   bool              // roles other than the superuser need no password: for tests
	Extra   map[string]string // settings over ours
}

// A Postgres is a running private server.
type Postgres struct {
	site   site
	port   int
	secret string
	log    *logFile
	claim  *Claim
	proc   postmaster
}

// A postmaster is our child, or one we found alive.
type postmaster interface {
	PID() int
	Done() <-chan struct{}
	Err() error
	Signal(sig syscall.Signal) error
}

// Port is the loopback TCP port.
func (p *Postgres) Port() int { return p.port }

// PID is the postmaster's process id.
func (p *Postgres) PID() int { return p.proc.PID() }

// Done is closed when the server is gone.
func (p *Postgres) Done() <-chan struct{} { return p.proc.Done() }

// Wait waits for the end of the server and says how it came.
func (p *Postgres) Wait() error { return p.proc.Err() }

// Log is the end of the server's log of this run.
func (p *Postgres) Log() string { return p.log.Tail() }

// LogPath is the server's log file.
func (p *Postgres) LogPath() string { return p.log.path }

// URL is the address of a database for a user; without one, for the superuser.
func (p *Postgres) URL(database, user string) string {
	if user == "" {
		user = superuser
	}
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(user, p.passwordOf(user)),
		Host: net.JoinHostPort(loopback, strconv.Itoa(p.port)), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// passwordOf derives the other roles' passwords, so that one kept secret is
// enough and no role can tell another's.
func (p *Postgres) passwordOf(user string) string {
	if user == superuser {
		return p.secret
	}
	mac := hmac.New(sha256.New, []byte(p.secret))
	mac.Write([]byte(user))
	return hex.EncodeToString(mac.Sum(nil))
}

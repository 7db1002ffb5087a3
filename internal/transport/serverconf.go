package transport

import (
	"fmt"
	"slices"
	"strings"
)

// Server describes one nats-server of ours.
type Server struct {
	Name     string
	Listen   string // host:port for clients
	Monitor  string // host:port of the monitoring pages: loopback or the pods' own network
	StoreDir string
	MaxBytes int64 // of all streams on it
	Zone     string
	Cluster  string
	Routes   Routes
	Keys     map[string]string // role to public key; a role without one is left out
	Sequin   bool              // it may log in, with the password that is in $NATS_SEQUIN_PASSWORD
}

// Routes are how the servers of a cluster reach each other.
type Routes struct {
	Listen string
	To     []string // host:port of the others
}

// SequinPassword is the variable of the server's environment that holds it.
const SequinPassword = "NATS_SEQUIN_PASSWORD" //nolint:gosec // its name, not itself

const maxMemoryStore = 256 << 20

// Text writes the server's configuration. There are no secrets in it: keys are
// public, the one password is a variable.
func (s Server) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Made by `event-runtime nats config`: change its flags, not this file.")
	line("# What is not named (websocket, MQTT, leafnodes, gateways) is off and must stay so.")
	line("server_name: %q\nlisten: %q\nhttp: %q\nmax_payload: %d", s.Name, s.Listen, s.Monitor, 1<<20)
	if s.Zone != "" {
		line("server_tags: [%q]", "az:"+s.Zone)
	}
	line("\njetstream {\n  store_dir: %q\n  max_file_store: %d\n  max_memory_store: %d", s.StoreDir, s.MaxBytes, maxMemoryStore)
	line("  sync_interval: always # a PubAck means: on the disk\n  strict: true")
	if s.Zone != "" {
		line("  unique_tag: \"az:\" # no two replicas in one zone")
	}
	line("}")
	if s.Cluster != "" {
		line("\ncluster {\n  name: %q\n  listen: %q\n  no_advertise: true\n  routes: [", s.Cluster, s.Routes.Listen)
		for _, to := range s.Routes.To {
			line("    \"nats://%s\"", to)
		}
		line("  ]\n}")
	}
	line("\naccounts {\n  EVENT_RUNTIME {\n    jetstream: enabled\n    users: [")
	for _, r := range Roles() {
		s.user(line, r)
	}
	line("    ]\n  }\n}")
	return b.String()
}

func (s Server) user(line func(string, ...any), r Role) {
	key := s.Keys[r.Name]
	if !r.Password && key == "" || r.Password && !s.Sequin {
		return
	}
	line("      { # %s", r.Name)
	if r.Password {
		line("        user: %q\n        password: $%s", r.Name, SequinPassword)
	} else {
		line("        nkey: %s", key)
	}
	line("        permissions: {\n          publish: { allow: [%s] }", quoted(r.Publish))
	if r.Inbox == "" {
		line("          subscribe: { deny: [\">\"] }")
	} else {
		line("          subscribe: { allow: [%s] }", quoted([]string{r.Inbox + ".>"}))
	}
	line("        }\n      }")
}

func quoted(subjects []string) string {
	all := slices.Clone(subjects)
	for i, s := range all {
		all[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(all, ", ")
}

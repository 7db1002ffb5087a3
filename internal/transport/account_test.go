package transport

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Nobody but who makes streams has a subject of their management, and nobody one
// that removes anything.
func TestNoRoleMayRemoveAnything(t *testing.T) {
	t.Parallel()
	inboxes := map[string]string{}
	for _, r := range Roles() {
		for _, subject := range r.Publish {
			for _, bad := range []string{".PURGE.", ".DELETE.", ".UPDATE.", ".RESTORE.", ".SNAPSHOT.", ".PEER.", "$SYS"} {
				if strings.Contains(subject, bad) {
					t.Errorf("%s may publish %s", r.Name, subject)
				}
			}
			if subject == ">" || strings.HasPrefix(subject, "$JS.API.>") || strings.HasPrefix(subject, "*") {
				t.Errorf("%s may publish %s: that is everything", r.Name, subject)
			}
			if strings.Contains(subject, ".CREATE.") && r.Name != RoleProvisioning || strings.Contains(subject, ".PAUSE.") && r.Name != RoleOperator {
				t.Errorf("%s may publish %s", r.Name, subject)
			}
			if events := subject == "interactions.>" || subject == "events.>"; events && slices.Contains([]string{RoleWorker, RoleProvisioning, RoleOperator}, r.Name) {
				t.Errorf("%s may publish %s: it could forge events", r.Name, subject)
			}
		}
		if other, taken := inboxes[r.Inbox]; taken {
			t.Errorf("%s and %s have one inbox", r.Name, other)
		}
		inboxes[r.Inbox] = r.Name
	}
}

// nats-server itself reads what is printed, and finds there what we promise.
func TestServerReadsWhatIsPrinted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, err := Keys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Keys(filepath.Join(dir, "keys"))
	if err != nil || again[RoleWorker] != keys[RoleWorker] || keys[RoleWorker] == keys[RoleRelay] || keys[RoleSequin] != "" {
		t.Errorf("got %v and %v, %v, want one key for each role, and the same again", keys, again, err)
	}
	path := filepath.Join(dir, "nats-server.conf")
	s := Server{Name: "n1", Listen: "127.0.0.1:4222", Monitor: "127.0.0.1:8222", StoreDir: filepath.Join(dir, "store"), MaxBytes: 1 << 30, Zone: "a",
		Cluster: "c", Routes: Routes{Listen: "127.0.0.1:6222", To: []string{"127.0.0.1:6223", "127.0.0.1:6224"}}, Keys: keys}
	if err := os.WriteFile(path, []byte(s.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Text())
	}
	if !o.SyncAlways || o.NoJetStreamStrict || o.JetStreamMaxStore != 1<<30 || o.JetStreamUniqueTag != "az:" || !slices.Equal(o.Tags, []string{"az:a"}) || o.MaxPayload != 1<<20 ||
		len(o.Routes) != 2 || o.HTTPHost != "127.0.0.1" || o.Websocket.Port != 0 || o.MQTT.Port != 0 || o.LeafNode.Port != 0 {
		t.Errorf("got %+v", o)
	}
	if len(o.Nkeys) != len(Roles())-1 || len(o.Users) != 0 {
		t.Errorf("got %d keys and %d passwords, want one key for each role but sequin", len(o.Nkeys), len(o.Users))
	}
	if err := os.Chmod(SeedFile(filepath.Join(dir, "keys"), RoleRelay), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Keys(filepath.Join(dir, "keys")); err == nil || !strings.Contains(err.Error(), "relay") || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("got %v, want a seed refused that others can read", err)
	}
}

// Who connects is told by reference; what cannot be used is named, and never shown.
func TestIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, err := Keys(dir)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.nk")
	if err := os.WriteFile(broken, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := testenv.NATSNodes(t, 1, func(n *testenv.NATSNode) string {
		return Server{Name: n.Name, Listen: n.Listen(), Monitor: "127.0.0.1:-1", StoreDir: n.StoreDir, MaxBytes: 1 << 30, Keys: keys}.Text()
	}).URL()
	nc, js, err := Connect(Config{URL: url, Credentials: "file:" + SeedFile(dir, RoleWorker), InboxPrefix: InboxOf(RoleWorker)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := js.Stream(t.Context(), Interactions); !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.HasPrefix(nc.NewInbox(), "_INBOX_worker.") || nc.Opts.Nkey == "" {
		t.Errorf("got %v, inbox %s and key %q", err, nc.NewInbox(), nc.Opts.Nkey)
	}
	for name, c := range map[string]struct{ ref, want string }{
		"no such file": {"file:" + dir + "/nobody.nk", "no such file"},
		"no variable":  {"env:NO_SUCH_SEED", "not set"},
		"no seed":      {"file:" + broken, "holds neither a .creds file nor an nkey seed"},
		"no reference": {"SUAABC", "a reference begins with file: or env:"},
	} {
		nc, _, err := Connect(Config{URL: url, Credentials: c.ref}, "test", nats.Name("x"))
		if err == nil {
			nc.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "SUAABC") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

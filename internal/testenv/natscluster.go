package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/finnest/event-runtime/internal/local"
)

// A NATSNode is one nats-server, a process of its own.
type NATSNode struct {
	Name     string
	StoreDir string
	Port     int
	Routes   []string // host:port of the others, as this one reaches them

	dir     string
	cluster int
	proc    *Process
	stopped bool
}

// ClusterListen is where the others reach it.
func (n *NATSNode) ClusterListen() string { return fmt.Sprintf("127.0.0.1:%d", n.cluster) }

// Listen is where clients reach it.
func (n *NATSNode) Listen() string { return fmt.Sprintf("127.0.0.1:%d", n.Port) }

// A NATSCluster is some nats-server processes that know each other.
type NATSCluster struct {
	t     testing.TB
	Nodes []*NATSNode
	links map[[2]int]*FaultProxy // between two nodes, the lower number first
	conf  func(*NATSNode) string
	env   []string
}

// clusterName is what each of them calls their cluster.
const clusterName = "testenv"

// nowhere is an address that refuses to connect.
const nowhere = "127.0.0.1:1"

// plainConf lets everybody in, and syncs before each PubAck.
func plainConf(n *NATSNode) string {
	text := fmt.Sprintf("server_name: %q\nlisten: %q\njetstream { store_dir: %q, max_file_store: %d, max_memory_store: %d, sync_interval: always, strict: true }\n",
		n.Name, n.Listen(), n.StoreDir, 8<<30, 64<<20)
	if len(n.Routes) == 0 {
		return text
	}
	routes := make([]string, len(n.Routes))
	for i, to := range n.Routes {
		routes[i] = fmt.Sprintf("%q", "nats://"+to)
	}
	// What they tell each other of where they are leads nowhere: a way around the
	// proxies would make half a cut, of which no cluster recovers.
	return text + fmt.Sprintf("cluster { name: %q, listen: %q, advertise: %q, no_advertise: true, routes: [%s] }\n", clusterName, n.ClusterListen(), nowhere, strings.Join(routes, ", "))
}

// NATSNodes starts nats-server processes that sync before each PubAck; several
// are a cluster, whose members reach each other through proxies. A conf of the
// test's own may say something else; env is on top of the test's.
func NATSNodes(t testing.TB, count int, conf func(*NATSNode) string, env ...string) *NATSCluster {
	t.Helper()
	c := &NATSCluster{t: t, links: map[[2]int]*FaultProxy{}, conf: conf, env: env}
	if conf == nil {
		c.conf = plainConf
	}
	for i := range count {
		dir := t.TempDir()
		node := &NATSNode{Name: fmt.Sprintf("n%d", i), dir: dir, StoreDir: filepath.Join(dir, "store")}
		for _, port := range []*int{&node.Port, &node.cluster} {
			var err error
			if *port, err = local.FreePort(); err != nil {
				t.Fatal(err)
			}
		}
		c.Nodes = append(c.Nodes, node)
	}
	for i := range c.Nodes { // each pair has one way, which the later node opens
		for k := range i {
			c.links[[2]int{k, i}] = Proxy(t, c.Nodes[k].ClusterListen())
			c.Nodes[i].Routes = append(c.Nodes[i].Routes, c.links[[2]int{k, i}].Addr())
		}
	}
	if count > 1 { // whoever has no routes at all would stand alone
		c.Nodes[0].Routes = []string{c.Nodes[0].ClusterListen()}
	}
	for i := range c.Nodes {
		c.Start(i)
	}
	return c
}

// Start starts a node that is not running, on what its store has.
func (c *NATSCluster) Start(i int) {
	c.t.Helper()
	node := c.Nodes[i]
	path := filepath.Join(node.dir, "nats-server.conf")
	if err := os.WriteFile(path, []byte(c.conf(node)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	bin, err := natsServer()
	if err != nil {
		c.t.Fatalf("build nats-server: %v", err)
	}
	node.proc, node.stopped = Start(c.t, bin, []string{"-c", path}, c.env), false
	node.proc.Line("Listening for client connections")
}

// Kill ends a node with SIGKILL; its store stays.
func (c *NATSCluster) Kill(i int) { c.Nodes[i].proc.Kill() }

// Wipe removes the store of a node that does not run.
func (c *NATSCluster) Wipe(i int) {
	c.t.Helper()
	if err := os.RemoveAll(c.Nodes[i].StoreDir); err != nil {
		c.t.Fatal(err)
	}
}

// Stop halts a node with SIGSTOP: it is there, and does nothing.
func (c *NATSCluster) Stop(i int) { c.Nodes[i].proc.Signal(syscall.SIGSTOP) }

// Continue undoes Stop.
func (c *NATSCluster) Continue(i int) { c.Nodes[i].proc.Signal(syscall.SIGCONT) }

// Cut holds back all that a node and the others tell each other; clients still
// reach it.
func (c *NATSCluster) Cut(i int) { c.each(i, (*FaultProxy).Pause) }

// Join undoes Cut.
func (c *NATSCluster) Join(i int) { c.each(i, (*FaultProxy).Resume) }

func (c *NATSCluster) each(i int, do func(*FaultProxy)) {
	for pair, link := range c.links {
		if pair[0] == i || pair[1] == i {
			do(link)
		}
	}
}

// URL names all nodes, with commas between them.
func (c *NATSCluster) URL() string {
	urls := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		urls[i] = "nats://" + n.Listen()
	}
	return strings.Join(urls, ",")
}

// JetStream connects to one of some nodes, or of all, for as long as the test
// lasts.
func (c *NATSCluster) JetStream(only ...int) jetstream.JetStream {
	c.t.Helper()
	urls := c.URL()
	for i, n := range only {
		if i == 0 {
			urls = ""
		}
		urls += "nats://" + c.Nodes[n].Listen() + ","
	}
	nc, err := nats.Connect(strings.TrimSuffix(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		c.t.Fatalf("connect to nats: %v", err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

// errNoLeader is that a stream has none at the moment.
var errNoLeader = errors.New("no leader")

// Leader is the number of the node that leads a stream.
func (c *NATSCluster) Leader(info *jetstream.StreamInfo) (int, error) {
	if info.Cluster != nil {
		for i, n := range c.Nodes {
			if n.Name == info.Cluster.Leader {
				return i, nil
			}
		}
	}
	return 0, errNoLeader
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/local"
	"github.com/finnest/event-runtime/internal/telemetry"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/sethvargo/go-envconfig"
)

type natsCommand struct {
	Run       natsRunCommand       `cmd:"" default:"withargs" help:"Run the embedded server (what nats alone does too)."`
	Config    natsConfigCommand    `cmd:"" help:"Print a nats-server.conf with an identity for each role."`
	Provision natsProvisionCommand `cmd:"" help:"Make the streams and consumers that are missing; configured by the environment, as serve."`
}

type natsRunCommand struct {
	Config      string   `help:"A nats-server.conf; then no other flag counts."`
	Dir         string   `default:".event-runtime/nats" help:"Where JetStream keeps its streams."`
	Port        int      `default:"4222" help:"On loopback."`
	SyncAlways  bool     `help:"Sync to disk before each acknowledgement, as a cluster should; otherwise every two minutes."`
	MaxBytes    int64    `default:"10737418240" help:"Of all streams."`
	Monitor     int      `help:"Port of the monitoring pages, on loopback (default: none)."`
	Name        string   `help:"Of this server, unlike those of its cluster."`
	Cluster     string   `help:"Name of the cluster it joins (default: it stands alone)."`
	ClusterPort int      `help:"For the other servers of the cluster, on loopback."`
	Route       []string `help:"nats://host:port of the others, once for each."`
}

func (c natsRunCommand) Run(ctx context.Context, o output) error {
	log := func(level, text string) {
		fmt.Fprintf(o.err, "%s %s %s\n", time.Now().UTC().Format(time.RFC3339), level, text)
	}
	if c.Config != "" {
		return local.RunNATSFile(ctx, c.Config, log)
	}
	if c.Cluster != "" && (c.Name == "" || c.ClusterPort == 0 || len(c.Route) == 0) {
		return fmt.Errorf("nats: --cluster=%s also needs --name, --cluster-port and --route", c.Cluster)
	}
	return local.RunNATS(ctx, local.NATSConfig{Dir: c.Dir, Port: c.Port, Monitor: c.Monitor, SyncAlways: c.SyncAlways, MaxFileStore: c.MaxBytes, ServerName: c.Name,
		Cluster: local.NATSCluster{Name: c.Cluster, Port: c.ClusterPort, Routes: c.Route}, Log: log})
}

type natsConfigCommand struct {
	Name          string   `default:"n1" help:"Of the server, unlike those of its cluster."`
	Listen        string   `default:"127.0.0.1:4222" help:"For clients."`
	Monitor       string   `default:"127.0.0.1:8222" help:"Monitoring pages; never where strangers are."`
	Store         string   `default:"/var/lib/nats" help:"Where JetStream keeps its streams."`
	MaxBytes      int64    `default:"107374182400" help:"Of all streams on this server."`
	Zone          string   `help:"Where the server stands: two replicas of a stream never share a zone."`
	Cluster       string   `help:"Name of the cluster it joins (default: it stands alone)."`
	ClusterListen string   `default:"127.0.0.1:6222" help:"For the other servers of the cluster: a private network."`
	Route         []string `help:"host:port of another server of the cluster, once for each."`
	Keys          string   `required:"" type:"path" help:"Directory of the roles' seeds, one file each; missing ones are made, readable by you alone."`
	Sequin        bool     `help:"Let Sequin in, with the password in the server's variable NATS_SEQUIN_PASSWORD."`
}

// Run prints what one server needs. The same keys serve all servers of a cluster.
func (c natsConfigCommand) Run(o output) error {
	if c.Cluster != "" && len(c.Route) == 0 {
		return fmt.Errorf("nats config: --cluster=%s also needs --route, host:port of each other server", c.Cluster)
	}
	keys, err := transport.Keys(c.Keys)
	if err != nil {
		return fmt.Errorf("nats config: %w", err)
	}
	server := transport.Server{Name: c.Name, Listen: c.Listen, Monitor: c.Monitor, StoreDir: c.Store, MaxBytes: c.MaxBytes, Zone: c.Zone,
		Cluster: c.Cluster, Routes: transport.Routes{Listen: c.ClusterListen, To: c.Route}, Keys: keys, Sequin: c.Sequin}
	_, err = io.WriteString(o.out, server.Text())
	return err
}

type natsProvisionCommand struct {
	Wait time.Duration `default:"1m" help:"For the servers to find a leader, and for the database."`
}

// Run makes what is missing, and says what is weaker than it must be.
func (c natsProvisionCommand) Run(ctx context.Context, o output) error {
	cfg, err := app.ReadProvision(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	drift, err := app.Provision(ctx, cfg, telemetry.Logger(cfg.Log, o.err, "provision"))
	if err != nil {
		return err
	}
	for _, setting := range drift {
		fmt.Fprintln(o.out, setting)
	}
	if len(drift) > 0 {
		return errors.New("nats provision: what is listed promises less than it must; nothing of it was changed")
	}
	fmt.Fprintln(o.out, "streams and consumers are as they must be")
	return nil
}

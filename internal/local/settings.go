package local

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const loopback = "127.0.0.1"

// settings is the whole of postgresql.conf.
func settings(cfg PostgresConfig, port int) map[string]string {
	all := map[string]string{
		"listen_addresses":        loopback,
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": "", // a path of more than 107 bytes would stop the start, and nobody needs it
		"wal_level":               "logical",
		"max_connections":         "100",
		"max_replication_slots":   "16",
		"max_wal_senders":         "16",
		"max_slot_wal_keep_size":  "4GB", // a slot nobody reads must not fill the disk; what it loses is swept
		"shared_buffers":          "128MB",
		"max_wal_size":            "1GB",
		"jit":                     "off", // plans over many partitions look dear, and compiling takes longer than running them
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"lc_messages":             "C",
		"log_line_prefix":         "%m [%p] %q%u@%d ",
		"log_checkpoints":         "off",
	}
	if !cfg.Durable {
		// A kill of the server still loses nothing: the kernel has what was written.
		// That is why synchronous_commit stays on.
		maps.Copy(all, map[string]string{"fsync": "off", "full_page_writes": "off"})
	}
	maps.Copy(all, cfg.Extra)
	return all
}

// access is the whole of pg_hba.conf.
func access(cfg PostgresConfig) string {
	others := "scram-sha-256"
	if cfg.Trust {
		others = "trust"
	}
	var b strings.Builder
	for _, line := range [][]string{{superuser, "scram-sha-256"}, {"all", others}} {
		for _, database := range []string{"all", "replication"} {
			fmt.Fprintf(&b, "host %s %s %s/32 %s\n", database, line[0], loopback, line[1])
		}
	}
	return b.String()
}

// configure writes both files anew at each start: what is there comes from this
// binary, and a change of ours needs no migration.
func (s site) configure(cfg PostgresConfig, port int) error {
	var b strings.Builder
	b.WriteString("# written by event-runtime at each start\n")
	all := settings(cfg, port)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(all[name], "'", "''"))
	}
	for name, text := range map[string]string{"postgresql.conf": b.String(), "pg_hba.conf": access(cfg)} {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.Chown(path, s.user.uid, s.user.gid); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

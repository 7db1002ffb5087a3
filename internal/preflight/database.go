package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/sequin"
	"github.com/jackc/pgx/v5"
)

// max_slot_wal_keep_size is in megabytes, wal_sender_timeout in milliseconds.
const sqlServer = `
SELECT pg_is_in_recovery(), current_setting('wal_level'),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_sender_timeout')`

const sqlTable = `
SELECT c.relispartition, c.relreplident::text,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
       ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY a.attnum)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = @schema AND c.relname = @table AND c.relkind IN ('r', 'p')`

const sqlPublication = `
SELECT p.pubinsert, p.pubupdate OR p.pubdelete OR p.pubtruncate, p.pubviaroot, p.puballtables,
       ARRAY(SELECT t.schemaname || '.' || t.tablename FROM pg_publication_tables t WHERE t.pubname = p.pubname ORDER BY 1)
  FROM pg_publication p WHERE p.pubname = @name`

const sqlSlot = `
SELECT coalesce(plugin, ''), coalesce(database, '') = current_database(), temporary, active, coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = @name`

const sqlRole = `
SELECT rolreplication OR rolsuper, rolbypassrls OR rolsuper, coalesce(has_schema_privilege(oid, to_regnamespace(@schema), 'USAGE'), false),
       coalesce(has_table_privilege(oid, to_regclass(@table), 'SELECT'), false)
  FROM pg_roles WHERE rolname = @role`

// leastSenderTimeout lets a busy Sequin live: it answers every 5 s, but not while
// a sink is full.
const leastSenderTimeout = 60 * time.Second

// Database holds the database that a file reads against what it needs there. Facts
// are what is worth knowing and no finding.
func Database(ctx context.Context, conn *pgx.Conn, f *File) (found []Finding, facts []string, err error) {
	d := &database{ctx: ctx, conn: conn, checker: checker{file: f}}
	for _, look := range []func() error{d.server, d.table, d.publication, d.slot, d.role} {
		if err := look(); err != nil {
			return d.found, d.facts, err
		}
	}
	return d.found, d.facts, nil
}

// database is one look.
type database struct {
	checker
	ctx   context.Context
	conn  *pgx.Conn
	facts []string
}

// row reads one row; not there when it is missing.
func (d *database) row(sql string, args pgx.NamedArgs, into ...any) (there bool, err error) {
	err = d.conn.QueryRow(d.ctx, sql, args).Scan(into...)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at the database: %w", err)
	}
	return true, nil
}

func (d *database) server() error {
	var standby bool
	var level string
	var keep, timeout int64
	if _, err := d.row(sqlServer, pgx.NamedArgs{}, &standby, &level, &keep, &timeout); err != nil {
		return err
	}
	d.must(!standby, "server", "a standby", "Sequin writes its heartbeats, and reads a slot of the primary's", "name the primary")
	d.must(level == "logical", "wal_level", level, "there is no logical slot without it", "set wal_level = logical and restart Postgres")
	d.must(keep >= 0, "max_slot_wal_keep_size", "-1", "a relay that is away keeps log until the disk is full, and then nobody can write",
		"set it: peak log per hour times the longest outage to be survived, below 60 % of the volume")
	least := leastSenderTimeout.Milliseconds()
	d.must(timeout == 0 || timeout >= least, "wal_sender_timeout", (time.Duration(timeout) * time.Millisecond).String(), "Postgres hangs up on a relay that waits for a full sink", "set wal_sender_timeout = 60s or more")
	return nil
}

func (d *database) table() error {
	var leaf bool
	var identity string
	var columns, key []string
	schema, table, _ := strings.Cut(Outbox, ".")
	there, err := d.row(sqlTable, pgx.NamedArgs{"schema": schema, "table": table}, &leaf, &identity, &columns, &key)
	if err != nil || !there {
		d.must(there || err != nil, Outbox, "no such table", "Sequin refuses the file: its container does not start", "run `event-runtime migrate`, before Sequin first sees the database")
		return err
	}
	d.must(!leaf, Outbox, "a partition of another table", "Sequin knows the roots of partitioned tables only", "run `event-runtime migrate` on a database of its own")
	for _, name := range sequin.Columns(sequin.NATS) {
		d.must(slices.Contains(columns, name), Outbox, "no column "+name, "subject and headers follow from it", "run `event-runtime migrate`")
	}
	want := []string{"tenant_id", "recorded_on", "event_id"}
	d.must(slices.Equal(key, want), Outbox, fmt.Sprintf("the primary key is (%s)", strings.Join(key, ", ")), "record_pks and the keys of a backfill are made of it", "run `event-runtime migrate`; it is ("+strings.Join(want, ", ")+")")
	d.must(identity == "d", Outbox, "a replica identity that is not the default", "an outbox knows inserts only; whole old rows in the log, or none, help nobody", "ALTER TABLE "+Outbox+" REPLICA IDENTITY DEFAULT")
	return nil
}

// reads is the sink's database.
func (d *database) reads() (manifest.Database, bool) {
	for _, s := range d.file.parsed.Sinks {
		if s.Status != "disabled" {
			return d.file.parsed.Database(s.Database)
		}
	}
	return manifest.Database{}, false
}

func (d *database) publication() error {
	from, ok := d.reads()
	if !ok {
		return nil // the file's finding
	}
	name := from.Publication.Name
	at := "publication " + name
	var insert, more, root, everything bool
	var tables []string
	there, err := d.row(sqlPublication, pgx.NamedArgs{"name": name}, &insert, &more, &root, &everything, &tables)
	if err != nil || !there {
		d.must(there || err != nil, at, "does not exist", "Sequin cannot stream without it", "run `event-runtime migrate`, and make the slot after it: a slot does not see a younger publication")
		return err
	}
	d.must(insert, at, "publishes no inserts", "nothing arrives, without an error", "ALTER PUBLICATION "+name+" SET (publish = 'insert')")
	d.must(!more, at, "publishes more than inserts", "deletes of partitions and rows would be sent", "ALTER PUBLICATION "+name+" SET (publish = 'insert')")
	d.must(root, at, "publishes partitions under their own names", "Sequin finds one level of parents, the outbox has two: nothing arrives, without an error", "ALTER PUBLICATION "+name+" SET (publish_via_partition_root = true)")
	d.must(!everything && slices.Equal(tables, []string{Outbox}), at, "does not carry exactly "+Outbox, "rows of other tables are decoded for nobody; what is not carried does not arrive", "ALTER PUBLICATION "+name+" SET TABLE "+Outbox)
	return nil
}

func (d *database) slot() error {
	from, ok := d.reads()
	if !ok {
		return nil
	}
	name := from.Slot.Name
	at := "slot " + name
	var plugin, status string
	var here, temporary, active bool
	there, err := d.row(sqlSlot, pgx.NamedArgs{"name": name}, &plugin, &here, &temporary, &active, &status)
	if err != nil || !there {
		d.must(there || err != nil || from.Slot.Create, at, "does not exist", "Sequin tries to connect every 10 s, for ever, and makes none", "run `event-runtime migrate`")
		return err
	}
	d.must(plugin == "pgoutput", at, "of plugin "+plugin, "Sequin reads pgoutput", "drop it, and run `event-runtime migrate`")
	d.must(here, at, "of another database", "a slot belongs to the database that it was made in", "run `event-runtime migrate` here, under a name of its own in the cluster")
	d.must(!temporary, at, "temporary", "it is gone with its connection", "drop it, and run `event-runtime migrate`")
	d.must(status != "lost", at, "lost: Postgres has dropped what it had yet to read", "Sequin tries for ever and never says so; its /health stays green", "stop Sequin, drop the slot, run `event-runtime migrate`, start Sequin; the rows in between are swept")
	d.must(status != "unreserved", at, "about to be lost", "the log that it needs is beyond max_slot_wal_keep_size", "start the relay now, or raise max_slot_wal_keep_size")
	d.facts = append(d.facts, at+map[bool]string{true: ": somebody reads it now", false: ": nobody reads it now"}[active])
	return nil
}

// role is who Sequin connects as, where the file says it plainly.
func (d *database) role() error {
	from, ok := d.reads()
	if !ok {
		return nil
	}
	entry, _ := d.file.raw.named("databases", from.Name)
	name := entry.text("username")
	if name == "" || entry.text("url") != "" {
		return nil
	}
	at := "role " + name
	var replication, bypass, usage, read bool
	schema, _, _ := strings.Cut(Outbox, ".")
	there, err := d.row(sqlRole, pgx.NamedArgs{"role": name, "schema": schema, "table": Outbox}, &replication, &bypass, &usage, &read)
	if err != nil || !there {
		d.must(there || err != nil, at, "does not exist", "Sequin cannot connect", "make the roles: `event-runtime migrate --print-roles`")
		return err
	}
	d.must(replication, at, "without REPLICATION", "it cannot read a slot", "ALTER ROLE "+name+" REPLICATION")
	d.must(bypass, at, "without BYPASSRLS", "a backfill ends with no row and no error", "ALTER ROLE "+name+" BYPASSRLS")
	d.must(usage && read, at, "may not read "+Outbox, "Sequin refuses the file, and a backfill fails", "GRANT USAGE ON SCHEMA "+schema+" TO "+name+"; GRANT SELECT ON "+Outbox+" TO "+name)
	return nil
}

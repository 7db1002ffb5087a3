package relay

import (
	"context"
	"fmt"

	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/post"
	"github.com/finnest/event-runtime/internal/relay/route"
)

// table is how the rows of one table become messages.
type table struct {
	name    string
	columns int
	body    *message.Table
	route   route.Router
	target  func(route.Row) *post.Target // of a webhook
	group   []int                        // columns that make the group of a row
}

// tables are those the server has described in this session.
type tables struct {
	plan  *plan
	side  *side
	known map[uint32]described
}

type described struct {
	as    pgoutput.Table
	table *table // nil when the sink does not want its rows
}

func newTables(p *plan, s *side) *tables {
	return &tables{plan: p, side: s, known: map[uint32]described{}}
}

// learn takes a description in. The server repeats them, and describes each leaf
// of a partitioned table although its rows carry the root's number.
func (t *tables) learn(ctx context.Context, as *pgoutput.Table) error {
	if have, ok := t.known[as.ID]; ok && have.as.Equal(as) {
		return nil
	}
	d := described{as: *as}
	if t.plan.source.Selects(as.Schema, as.Name) {
		var err error
		if d.table, err = t.prepare(ctx, as); err != nil {
			return fmt.Errorf("look up table %s.%s: %w", as.Schema, as.Name, err)
		}
	}
	t.known[as.ID] = d
	return nil
}

func (t *tables) prepare(ctx context.Context, as *pgoutput.Table) (*table, error) {
	var oids []uint32
	for _, c := range as.Columns {
		oids = append(oids, c.Type)
	}
	catalog, err := t.side.lookUp(ctx, as.ID, oids)
	if err != nil {
		return nil, err
	}
	var columns []message.Column
	var names []string
	for _, c := range as.Columns {
		columns = append(columns, message.Column{Name: c.Name, Key: catalog.key[c.Name], Encode: message.EncoderOf(catalog.types[c.Type])})
		names = append(names, c.Name)
	}
	made := &table{
		name: as.Schema + "." + as.Name, columns: len(columns),
		body:  message.NewTable(as.Schema, as.Name, columns, t.plan.sink, t.plan.database),
		route: t.plan.router(as.Schema, as.Name, names),
	}
	if t.plan.webhook != nil {
		made.target = t.plan.webhook.targets(names)
		made.group = t.plan.webhook.groups(as.Schema, as.Name, columns)
	}
	return made, nil
}

// find gives the table of a row, or nil when its rows are not wanted.
func (t *tables) find(id uint32) (*table, error) {
	d, ok := t.known[id]
	if !ok {
		return nil, fmt.Errorf("a row of table %d, which the server has not described", id)
	}
	return d.table, nil
}

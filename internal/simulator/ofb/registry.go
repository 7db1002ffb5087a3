package ofb

import "github.com/google/uuid"

// registry answers what the checks ask of a Directory. It does not change.
type registry struct {
	byID     map[uuid.UUID]member
	byClient map[string]uuid.UUID    // client id to organisation
	software map[uuid.UUID]uuid.UUID // software statement to organisation
}

type member struct {
	Organisation

	id    uuid.UUID
	group string // the conglomerate, or the organisation alone
}

func newRegistry(d Directory) *registry {
	r := &registry{
		byID:     map[uuid.UUID]member{},
		byClient: map[string]uuid.UUID{},
		software: map[uuid.UUID]uuid.UUID{},
	}
	for _, o := range d.Organisations {
		m := member{Organisation: o, id: uuid.MustParse(o.ID), group: "alone:" + o.ID}
		if o.Conglomerate != "" {
			m.group = "conglomerate:" + o.Conglomerate
		}
		r.byID[m.id] = m
		r.byClient[o.ClientID] = m.id
		for _, s := range o.SoftwareStatements {
			r.software[uuid.MustParse(s)] = m.id
		}
	}
	return r
}

func (r *registry) knows(org uuid.UUID) bool {
	_, ok := r.byID[org]
	return ok
}

// speaksFor reports whether a token of caller may report for org: since release
// 2025B any member of a conglomerate may report for the others.
func (r *registry) speaksFor(caller, org uuid.UUID) bool {
	a, known := r.byID[caller]
	b, listed := r.byID[org]
	return known && listed && a.group == b.group
}

// owns reports whether the software statement belongs to org's conglomerate.
func (r *registry) owns(org, statement uuid.UUID) bool {
	owner, ok := r.software[statement]
	return ok && r.speaksFor(owner, org)
}

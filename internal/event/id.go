// Package event holds the words that every other part shares: what an event
// is, how it is named, addressed and hashed.
//
// Promise: Decode accepts exactly what the wire contract (sequin/) describes,
//
//	and a Defect names the reason and the place, never the value.
//
// State:   none.
// Failure: everything that is wrong with a message is a *Defect.
package event

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
)

// ID is a UUID. Ids of events are version 7: the first 48 bits are the Unix
// time in milliseconds at which the event was appended.
type ID [16]byte

var errNotUUID = errors.New("not a UUID of 36 characters")

// NewID makes a UUIDv7 for now.
func NewID(now time.Time) ID {
	var id ID
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand ends the process instead
	binary.BigEndian.PutUint32(id[0:], uint32(now.UnixMilli()>>16))
	binary.BigEndian.PutUint16(id[4:], uint16(now.UnixMilli()))
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// ParseID reads the canonical 36-character form, in either case.
func ParseID(s string) (ID, error) {
	if len(s) != 36 {
		return ID{}, errNotUUID // uuid.Parse would also take URNs and braces
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return ID{}, errNotUUID
	}
	return ID(u), nil
}

// String is the canonical lower-case form.
func (id ID) String() string { return uuid.UUID(id).String() }

// MarshalText and UnmarshalText make an ID a JSON string.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	*id = parsed
	return err
}

// IsZero reports the all-zero UUID, which regulators refuse.
func (id ID) IsZero() bool { return id == ID{} }

// Time is the moment inside a UUIDv7.
func (id ID) Time() time.Time {
	ms := int64(binary.BigEndian.Uint32(id[0:]))<<16 | int64(binary.BigEndian.Uint16(id[4:]))
	return time.UnixMilli(ms).UTC()
}

// Day is the UTC day inside a UUIDv7: the partition its row lives in.
func (id ID) Day() time.Time { return id.Time().Truncate(24 * time.Hour) }

// IsV7 reports whether Time and Day mean anything.
func (id ID) IsV7() bool { return id[6]>>4 == 7 && id[8]>>6 == 2 }

// UUIDValue lets pgx send an ID in binary.
func (id ID) UUIDValue() (pgtype.UUID, error) { return pgtype.UUID{Bytes: id, Valid: true}, nil }

// ScanUUID lets pgx read an ID.
func (id *ID) ScanUUID(v pgtype.UUID) error {
	if !v.Valid {
		return errors.New("cannot read NULL into an ID")
	}
	*id = v.Bytes
	return nil
}

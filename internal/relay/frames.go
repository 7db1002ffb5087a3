package relay

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

const bufferSize = 256 << 10

// frames takes the messages of Postgres's protocol off a connection, as few reads
// as possible for many messages.
type frames struct {
	conn    net.Conn
	largest int // what is larger is not kept as a whole
	buf     []byte
	r, w    int    // what is between them is read and not taken
	held    []byte // of a frame that was too large
	cut     bool   // the last message was such a frame: parts of it are missing

	// before is called before each read: short is whether the one before gave little.
	before func(short bool) error
	short  bool
}

func newFrames(conn net.Conn, largest int) *frames {
	return &frames{conn: conn, largest: max(largest, bufferSize), buf: make([]byte, bufferSize)}
}

// next gives one message; its body is good until the next call.
func (f *frames) next() (kind byte, body []byte, err error) {
	head, err := f.peek(5)
	if err != nil {
		return 0, nil, err
	}
	kind, f.cut = head[0], false
	length := int(binary.BigEndian.Uint32(head[1:])) - 4
	switch {
	case length < 0:
		return 0, nil, fmt.Errorf("a message of %d bytes", length)
	case length > f.largest && kind == 'd':
		f.r += 5
		f.cut = true
		body, err = f.reduce(length)
		return kind, body, err
	case length > f.largest:
		return 0, nil, fmt.Errorf("a message %q of %d bytes", kind, length)
	}
	whole, err := f.peek(5 + length)
	if err != nil {
		return 0, nil, err
	}
	f.r += len(whole)
	return kind, whole[5:], nil
}

// peek gives the next n bytes without taking them.
func (f *frames) peek(n int) ([]byte, error) {
	if f.w-f.r < n {
		if err := f.fill(n); err != nil {
			return nil, err
		}
	}
	return f.buf[f.r : f.r+n : f.r+n], nil
}

func (f *frames) fill(n int) error {
	f.makeRoom(n)
	for f.w-f.r < n {
		if f.before != nil {
			if err := f.before(f.short); err != nil {
				return err
			}
		}
		got, err := f.conn.Read(f.buf[f.w:])
		f.w += got
		f.short = got < bufferSize/4
		if err != nil && f.w-f.r < n {
			return fmt.Errorf("read the stream: %w", err)
		}
	}
	return nil
}

// makeRoom moves what is unread to the front, of a larger buffer where it must
// be, and of the usual one again when that will do.
func (f *frames) makeRoom(n int) {
	to := f.buf
	switch {
	case n > len(f.buf):
		to = make([]byte, n)
	case len(f.buf) > bufferSize && max(n, f.w-f.r) <= bufferSize:
		to = make([]byte, bufferSize)
	}
	f.w = copy(to, f.buf[f.r:f.w])
	f.buf, f.r = to, 0
}

// nap is how long a reader waits for more in the middle of a long transaction.
// Postgres sends one packet a row, and being woken for each costs more than the
// row; short transactions, where it would be felt, never wait.
const (
	nap      = 300 * time.Microsecond
	napAfter = 8 // rows of a transaction
)

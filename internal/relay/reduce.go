package relay

import (
	"encoding/binary"
	"fmt"

	"github.com/finnest/event-runtime/internal/relay/pgoutput"
)

const (
	largestKept = 64 << 10 // of one value in a row that is too large
	mostKept    = 1 << 20  // of all of them
	xlogHead    = 25       // 'w', start, end, time
)

// reduce takes a frame that is too large to keep and gives a smaller one: of a
// changed row the values that are small, so that it can be told which row it
// was; of anything else only that it was there. The rest is read and dropped, so
// that a row of a gigabyte costs no memory.
func (f *frames) reduce(length int) ([]byte, error) {
	r := reducer{frames: f, left: length, length: length}
	head, err := r.keep(xlogHead + 1)
	if err != nil {
		return nil, err
	}
	f.held = append(f.held[:0], head...)
	switch kind := pgoutput.Kind(f.held[xlogHead]); kind {
	case pgoutput.Insert, pgoutput.Update, pgoutput.Delete:
		err = r.rows(kind)
	case pgoutput.Logical:
		// Flags and position; no name and no content: an annotation of this size is none.
		var b []byte
		if b, err = r.keep(9); err == nil {
			f.held = append(append(f.held, b...), 0, 0, 0, 0, 0)
		}
	default:
		err = fmt.Errorf("a message %q of %d bytes", f.held[xlogHead], length)
	}
	if err != nil {
		return nil, err
	}
	return f.held, f.drop(r.left)
}

// reducer is what is left of one frame.
type reducer struct {
	*frames
	left, length int
}

// keep takes the next n bytes; they are good until the next call.
func (r *reducer) keep(n int) ([]byte, error) {
	if n > r.left {
		return nil, fmt.Errorf("a frame of %d bytes ends early", r.length)
	}
	b, err := r.peek(n)
	r.r += len(b)
	r.left -= len(b)
	return b, err
}

// rows reduces what follows the kind of a message: the relation, and one row or,
// of an update, the one before too.
func (r *reducer) rows(kind pgoutput.Kind) error {
	relation, err := r.keep(4)
	if err != nil {
		return err
	}
	r.held = append(r.held, relation...)
	for more := true; more; {
		b, err := r.keep(1)
		if err != nil {
			return err
		}
		mark := b[0]
		r.held = append(r.held, mark)
		if err := r.row(); err != nil {
			return err
		}
		more = kind == pgoutput.Update && mark != 'N'
	}
	return nil
}

func (r *reducer) row() error {
	b, err := r.keep(2)
	if err != nil {
		return err
	}
	columns := binary.BigEndian.Uint16(b)
	r.held = append(r.held, b...)
	for range columns {
		if err := r.value(); err != nil {
			return err
		}
	}
	return nil
}

// value keeps a small value, and of a large one that it was there.
func (r *reducer) value() error {
	b, err := r.keep(1)
	if err != nil {
		return err
	}
	kind := pgoutput.ValueKind(b[0])
	if kind != pgoutput.Text && kind != pgoutput.Binary {
		r.held = append(r.held, byte(kind))
		return nil
	}
	if b, err = r.keep(4); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(b))
	switch {
	case n > r.left:
		return fmt.Errorf("a value of %d bytes in a smaller frame", n)
	case n > largestKept || len(r.held)+n > mostKept:
		r.held = append(r.held, byte(pgoutput.Unchanged))
		r.left -= n
		return r.drop(n)
	}
	r.held = append(append(r.held, byte(kind)), b...)
	if b, err = r.keep(n); err != nil {
		return err
	}
	r.held = append(r.held, b...)
	return nil
}

// drop reads n bytes and forgets them.
func (f *frames) drop(n int) error {
	for n > 0 {
		some, err := f.peek(min(n, bufferSize/2))
		if err != nil {
			return err
		}
		f.r += len(some)
		n -= len(some)
	}
	return nil
}

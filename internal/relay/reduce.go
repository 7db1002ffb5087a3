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

// reduce takes a frame that is too large to keep and gives a smaller one: of an
// inserted row the values that are small, so that it can be told which row it
// was; of anything else only that it was there. The rest is read and dropped, so
// that a row of a gigabyte costs no memory.
func (f *frames) reduce(length int) ([]byte, error) {
	left := length
	take := func(n int) ([]byte, error) {
		if n > left {
			return nil, fmt.Errorf("a frame of %d bytes ends early", length)
		}
		b, err := f.peek(n)
		f.r += len(b)
		left -= len(b)
		return b, err
	}
	head, err := take(xlogHead + 1)
	if err != nil {
		return nil, err
	}
	f.held = append(f.held[:0], head...)
	switch pgoutput.Kind(head[xlogHead]) {
	case pgoutput.Insert:
		err = f.reduceInsert(take, &left)
	case pgoutput.Update: // relation, new row of no columns
		f.held = append(f.held, 0, 0, 0, 0, 'N', 0, 0)
	case pgoutput.Delete:
		f.held = append(f.held, 0, 0, 0, 0, 'K', 0, 0)
	case pgoutput.Logical:
		// Flags and position; no name and no content: an annotation of this size is none.
		var b []byte
		if b, err = take(9); err == nil {
			f.held = append(append(f.held, b...), 0, 0, 0, 0, 0)
		}
	default:
		err = fmt.Errorf("a message %q of %d bytes", head[xlogHead], length)
	}
	if err != nil {
		return nil, err
	}
	return f.held, f.drop(left)
}

func (f *frames) reduceInsert(take func(int) ([]byte, error), left *int) error {
	head, err := take(7) // relation, N, number of columns
	if err != nil {
		return err
	}
	f.held = append(f.held, head...)
	for range binary.BigEndian.Uint16(head[5:]) {
		mark, err := take(1)
		if err != nil {
			return err
		}
		kind := pgoutput.ValueKind(mark[0])
		if kind != pgoutput.Text && kind != pgoutput.Binary {
			f.held = append(f.held, byte(kind))
			continue
		}
		size, err := take(4)
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(size))
		if n > largestKept || len(f.held)+n > mostKept {
			f.held = append(f.held, byte(pgoutput.Unchanged))
			if n > *left {
				return fmt.Errorf("a value of %d bytes in a smaller frame", n)
			}
			*left -= n
			if err := f.drop(n); err != nil {
				return err
			}
			continue
		}
		f.held = append(append(f.held, byte(kind)), size...)
		value, err := take(n)
		if err != nil {
			return err
		}
		f.held = append(f.held, value...)
	}
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

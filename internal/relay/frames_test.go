package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/relay/pgoutput"
)

// script is a connection that gives what is written down, in pieces.
type script struct {
	net.Conn
	in    io.Reader
	piece func() int
}

func (s *script) Read(b []byte) (int, error)      { return s.in.Read(b[:min(len(b), s.piece())]) }
func (s *script) SetReadDeadline(time.Time) error { return nil }

func frame(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))) + body
}

func TestFrames(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 3*bufferSize)
	bodies := []string{"", "a", strings.Repeat("b", 1000), large, "c", large + "y", "", strings.Repeat("d", bufferSize-5)}
	var all strings.Builder
	for range 40 {
		for _, body := range bodies {
			all.WriteString(frame('d', body))
		}
	}
	for name, piece := range map[string]func() int{
		"byte by byte at times": func() int { return 1 + rand.IntN(3)*rand.IntN(100_000) },
		"as much as fits":       func() int { return 1 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFrames(&script{in: strings.NewReader(all.String()), piece: piece}, 4<<20)
			for range 40 {
				for _, want := range bodies {
					kind, got, err := f.next()
					if err != nil || kind != 'd' || string(got) != want {
						t.Fatalf("got %q, %d bytes, %v, want %d bytes", kind, len(got), err, len(want))
					}
				}
			}
			if _, _, err := f.next(); !errors.Is(err, io.EOF) {
				t.Errorf("got %v at the end, want EOF", err)
			}
			if len(f.buf) != bufferSize {
				t.Errorf("got a buffer of %d bytes in the end, want %d", len(f.buf), bufferSize)
			}
		})
	}
}

// gigabyte is a value that nobody can keep.
type gigabyte struct{ left int }

func (g *gigabyte) Read(b []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), g.left)
	g.left -= n
	return n, nil
}

const xlog = "w000000001111111122222222"

func TestReduce(t *testing.T) {
	t.Parallel()
	const huge = 200 << 20
	size := func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	for name, c := range map[string]struct {
		head, tail string
		want       string
	}{
		"of an inserted row the small values stay": {
			xlog + "I\x00\x00\x00\x07N\x00\x04t" + size(4) + "acment" + size(huge), "t" + size(2) + "ok",
			xlog + "I\x00\x00\x00\x07N\x00\x04t" + size(4) + "acmenut" + size(2) + "ok",
		},
		"of an updated row too, and of the row before": {
			xlog + "U\x00\x00\x00\x07O\x00\x02t" + size(1) + "at" + size(huge), "N\x00\x02t" + size(1) + "bu",
			xlog + "U\x00\x00\x00\x07O\x00\x02t" + size(1) + "auN\x00\x02t" + size(1) + "bu",
		},
		"of an update without a row before": {xlog + "U\x00\x00\x00\x07N\x00\x01t" + size(huge), "", xlog + "U\x00\x00\x00\x07N\x00\x01u"},
		"of a deleted row too":              {xlog + "D\x00\x00\x00\x07O\x00\x01t" + size(huge), "", xlog + "D\x00\x00\x00\x07O\x00\x01u"},
		"a logical message is none":         {xlog + "M\x0187654321name\x00" + size(huge), "", xlog + "M\x0187654321\x00\x00\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := io.MultiReader(
				strings.NewReader("d"+size(4+len(c.head)+huge+len(c.tail))+c.head), &gigabyte{huge}, strings.NewReader(c.tail), strings.NewReader(frame('d', "next")))
			f := newFrames(&script{in: whole, piece: func() int { return 1 << 30 }}, 4<<20)
			_, got, err := f.next()
			if !f.cut {
				t.Error("got a message that counts as whole")
			}
			if err != nil || string(got) != c.want {
				t.Fatalf("got %q, %v, want %q", got, err, c.want)
			}
			var m pgoutput.Message
			if err := pgoutput.Decode(got[xlogHead:], &m); err != nil {
				t.Errorf("what is left cannot be read: %v", err)
			}
			if _, next, err := f.next(); err != nil || string(next) != "next" || f.cut {
				t.Errorf("got %q, %v behind it, want the next message", next, err)
			}
			if len(f.buf) > 2*bufferSize {
				t.Errorf("kept %d bytes", len(f.buf))
			}
		})
	}
}

func TestReduceRefuses(t *testing.T) {
	t.Parallel()
	size := func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	for name, head := range map[string]string{
		"a large message of no known kind":  xlog + "R",
		"a value that is larger than all":   xlog + "I\x00\x00\x00\x07N\x00\x01t" + size(1<<31-1),
		"more columns than there are bytes": xlog + "I\x00\x00\x00\x07N\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rest := (4 << 20) + 1 - len(head)
			f := newFrames(&script{in: io.MultiReader(strings.NewReader("d"+size(4+(4<<20)+1)+head), bytes.NewReader(bytes.Repeat([]byte("t"), rest))), piece: func() int { return 1 << 30 }}, 4<<20)
			if _, _, err := f.next(); err == nil {
				t.Error("got it accepted")
			}
		})
	}
}

// FuzzFrames: whatever a server sends, it costs no more than it is long.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame('d', xlog+"I\x00\x00\x00\x07N\x00\x00") + frame('Z', "I")))
	f.Add([]byte("d\x7f\xff\xff\xff" + xlog + "I\x00\x00\x00\x07N\xff\xfft\x00\x00\x00\x02"))
	f.Add([]byte("d\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		in := newFrames(&script{in: bytes.NewReader(text), piece: func() int { return 1000 }}, 4<<20)
		for {
			if _, _, err := in.next(); err != nil {
				break
			}
		}
		if len(in.buf) > (4<<20)+bufferSize {
			t.Errorf("kept %d bytes", len(in.buf))
		}
	})
}

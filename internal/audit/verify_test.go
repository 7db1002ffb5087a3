package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("BRT", -3*3600))

// chain makes n rows.
func chain(name string, n int) (rows []Row) {
	var head Row
	for i := range n {
		head = Next(head, Change{Chain: name, Actor: "uid-1", Action: "batch.requeued", Subject: "b"}, []byte{'0' + byte(i%10)}, epoch.Add(time.Duration(i)*time.Second))
		rows = append(rows, head)
	}
	return rows
}

// What is hashed is a contract: receipts of years ago must verify. The bytes are
// put together here by hand.
func TestHashCoversEveryColumnWithItsLength(t *testing.T) {
	t.Parallel()
	r := Row{Chain: "acme-bank", Seq: 258, TS: epoch, Actor: "uid-1", Action: "batch.requeued", Subject: "b", PayloadBytes: []byte(`{"n":1}`),
		PayloadSHA256: bytes.Repeat([]byte{1}, 32), PrevHash: bytes.Repeat([]byte{2}, 32)}
	var want []byte
	for _, part := range []string{"event-runtime/audit/v1", "acme-bank", "\x00\x00\x00\x00\x00\x00\x01\x02", "2026-03-01T15:00:00.123456Z", "uid-1", "batch.requeued", "b", `{"n":1}`,
		string(r.PayloadSHA256), string(r.PrevHash)} {
		want = binary.BigEndian.AppendUint32(want, uint32(len(part)))
		want = append(want, part...)
	}
	sum := sha256.Sum256(want)
	if got := r.Sum(); !bytes.Equal(got, sum[:]) {
		t.Errorf("got %x, want %x", got, sum)
	}
	const known = "f12913114df80a062f68bd14d92e550820ed94361ffc59362ba033593e1420fd"
	if got := hex.EncodeToString(r.Sum()); got != known {
		t.Errorf("got %s, want %s: old rows would not verify any more", got, known)
	}
}

// check walks rows as verify does and gives the first complaint.
func check(rows []Row) (at int, why string) {
	var c Checker
	for n, r := range rows {
		if why := c.Check(r); why != "" {
			return n, why
		}
	}
	return -1, ""
}

func TestTampering(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		harm func(rows []Row) []Row
		at   int
		why  string
	}{
		"nothing":                  {func(r []Row) []Row { return r }, -1, ""},
		"chain":                    {func(r []Row) []Row { r[1].Chain = "other"; return r }, 1, "sequence jumps from 0 to 2"},
		"sequence":                 {func(r []Row) []Row { r[1].Seq = 7; return r }, 1, "sequence jumps from 1 to 7"},
		"time":                     {func(r []Row) []Row { r[1].TS = r[1].TS.Add(time.Microsecond); return r }, 1, "row does not match its hash"},
		"time back":                {func(r []Row) []Row { r[1].TS = r[0].TS.Add(-time.Hour); return r }, 1, "time goes back"},
		"actor":                    {func(r []Row) []Row { r[1].Actor = "x"; return r }, 1, "row does not match its hash"},
		"action":                   {func(r []Row) []Row { r[1].Action = "x"; return r }, 1, "row does not match its hash"},
		"subject":                  {func(r []Row) []Row { r[1].Subject = "x"; return r }, 1, "row does not match its hash"},
		"actor moved into action":  {func(r []Row) []Row { r[1].Actor, r[1].Action = "uid-", "1batch.requeued"; return r }, 1, "row does not match its hash"},
		"payload":                  {func(r []Row) []Row { r[1].PayloadBytes = []byte("9"); return r }, 1, "payload does not match its hash"},
		"payload hash":             {func(r []Row) []Row { r[1].PayloadSHA256 = make([]byte, 32); return r }, 1, "payload does not match its hash"},
		"link":                     {func(r []Row) []Row { r[1].PrevHash = make([]byte, 32); return r }, 1, "does not link to the row before"},
		"hash":                     {func(r []Row) []Row { r[1].Hash = make([]byte, 32); return r }, 1, "row does not match its hash"},
		"first deleted":            {func(r []Row) []Row { return r[1:] }, 0, "sequence jumps from 0 to 2"},
		"middle deleted":           {func(r []Row) []Row { return slices.Delete(r, 1, 2) }, 1, "sequence jumps from 1 to 3"},
		"two swapped":              {func(r []Row) []Row { r[1], r[2] = r[2], r[1]; return r }, 1, "sequence jumps from 1 to 3"},
		"two swapped, renumbered":  {func(r []Row) []Row { r[1], r[2] = r[2], r[1]; r[1].Seq, r[2].Seq = 2, 3; return r }, 1, "does not link to the row before"},
		"one repeated":             {func(r []Row) []Row { return slices.Insert(r, 1, r[0]) }, 1, "sequence jumps from 1 to 1"},
		"one changed and rehashed": {func(r []Row) []Row { r[1].Actor = "x"; r[1].Hash = r[1].Sum(); return r }, 2, "does not link to the row before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if at, why := check(tc.harm(chain("acme-bank", 4))); at != tc.at || why != tc.why {
				t.Errorf("got row %d %q, want row %d %q", at, why, tc.at, tc.why)
			}
		})
	}
}

// What only an anchor outside of the database can see: said here, so that nobody
// believes otherwise.
func TestACutTailLooksWhole(t *testing.T) {
	t.Parallel()
	if at, why := check(chain("acme-bank", 4)[:3]); why != "" {
		t.Errorf("got row %d %q", at, why)
	}
}

func TestEveryChainBeginsAnew(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var all []Row
		for _, name := range []string{"acme-bank", "beta-bank", "platform"} {
			all = append(all, chain(name, rapid.IntRange(0, 5).Draw(t, name))...)
		}
		if at, why := check(all); why != "" {
			t.Fatalf("row %d: %s", at, why)
		}
	})
}

// The time never goes back, whatever the clock does, and is what Postgres keeps.
func TestTimeOfARow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var head Row
		for _, skip := range rapid.SliceOf(rapid.Int64Range(-1e12, 1e12)).Draw(t, "skips") {
			next := Next(head, Change{Chain: "x"}, nil, epoch.Add(time.Duration(skip)))
			if next.TS.Before(head.TS) || !next.TS.Equal(next.TS.Truncate(time.Microsecond)) {
				t.Fatalf("%v follows %v", next.TS, head.TS)
			}
			head = next
		}
	})
}

package denylist

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// noise makes what fills our logs: ids, hashes, times, positions. None of it
// is personal, however the digits fall.
type noise struct{ r *rand.Rand }

func (n noise) bytes(size int) []byte {
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, n.r.Uint64())
	}
	return b[:size]
}

func (n noise) uuid(version byte) string {
	b := n.bytes(16)
	if version == 7 {
		ms := time.Date(2026, 10, 14, 0, 0, 0, 0, time.UTC).UnixMilli() + n.r.Int64N(1e11)
		binary.BigEndian.PutUint64(b, uint64(ms)<<16|uint64(b[6])<<8|uint64(b[7]))
	}
	b[6], b[8] = b[6]&0x0f|version<<4, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (n noise) ulid() string {
	const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	b := []byte("01")
	for range 24 {
		b = append(b, crockford[n.r.IntN(32)])
	}
	return string(b)
}

func (n noise) sample() []string {
	at := time.Unix(1_700_000_000+n.r.Int64N(500_000_000), n.r.Int64N(1e9)).UTC()
	digest := hex.EncodeToString(n.bytes(32))
	return []string{
		n.uuid(4), n.uuid(7), "urn:uuid:" + n.uuid(4), n.uuid(4) + "," + n.uuid(7), n.ulid(),
		digest, digest[:32], digest[:40], digest[:12], "sha256:" + digest,
		"00-" + digest[:32] + "-" + digest[32:48] + "-01",
		at.Format(time.RFC3339), at.Format(time.RFC3339Nano), at.Format("2006-01-02 15:04:05.000000"), at.Format("20060102150405"),
		fmt.Sprint(at.Unix()), fmt.Sprint(at.UnixMilli()), fmt.Sprint(at.UnixMicro()), fmt.Sprint(at.UnixNano()),
		fmt.Sprintf("%X/%X", n.r.Uint32(), n.r.Uint32()), fmt.Sprint(n.r.Float64()),
		"interactions.acme-" + digest[:6] + ".ofb", "p." + fmt.Sprint(n.r.IntN(32)) + ".events.acme.ofb.consent.advanced",
		fmt.Sprintf(`{"event_id":%q,"at":%q,"seq":%d}`, n.uuid(7), at.Format(time.RFC3339Nano), n.r.IntN(1e9)),
	}
}

func checkNoise(t testing.TB, rounds int, seed uint64) {
	n := noise{rand.New(rand.NewPCG(seed, 0))}
	for range rounds {
		for _, s := range n.sample() {
			if k, ok := Find(s); ok {
				t.Errorf("Find(%q): got %q, want no hit (seed %d)", s, k, seed)
			}
		}
	}
}

// A million of each is BenchmarkNoise; this is what each run can afford.
func TestNoiseNeverHits(t *testing.T) {
	t.Parallel()
	checkNoise(t, 5_000, rand.Uint64())
}

// What cannot be told apart is at least rare, as the package comment says.
func TestHowOftenInnocentNumbersHit(t *testing.T) {
	t.Parallel()
	n := noise{rand.New(rand.NewPCG(1, 2))}
	const rounds = 50_000
	elevens := 0
	for range rounds {
		if _, ok := Find(fmt.Sprint(10_000_000_000 + n.r.Int64N(90_000_000_000))); ok {
			elevens++
		}
	}
	if share := float64(elevens) / rounds; share < 0.008 || share > 0.012 {
		t.Errorf("11-digit numbers: got %.4f, want one in a hundred", share)
	}
}

// BenchmarkNoise draws a million of each sample per iteration (-benchtime 1x).
func BenchmarkNoise(b *testing.B) {
	for b.Loop() {
		checkNoise(b, 1_000_000, rand.Uint64())
	}
}

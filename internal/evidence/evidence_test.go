package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The oracle is another algorithm than ours: it reads leaves from left to right
// and joins what has the same height.
type hashed = [sha256.Size]byte

func leafHash(data []byte) hashed { return sha256.Sum256(append([]byte{0}, data...)) }

func nodeHash(left, right hashed) hashed {
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func rootOf(leaves [][]byte) hashed {
	var stack []hashed
	for n, leaf := range leaves {
		stack = append(stack, leafHash(leaf))
		for range bits.TrailingZeros(uint(n + 1)) {
			last := len(stack) - 1
			stack = append(stack[:last-1], nodeHash(stack[last-1], stack[last]))
		}
	}
	if len(stack) == 0 {
		return sha256.Sum256(nil)
	}
	for len(stack) > 1 {
		last := len(stack) - 1
		stack = append(stack[:last-1], nodeHash(stack[last-1], stack[last]))
	}
	return stack[0]
}

// The reference data of Certificate Transparency: eight leaves, and the root of
// the first n of them.
func TestOracleKnowsRFC6962(t *testing.T) {
	t.Parallel()
	var leaves [][]byte
	for _, text := range []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"} {
		leaf, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	for n, want := range []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	} {
		if got := rootOf(leaves[:n]); hex.EncodeToString(got[:]) != want {
			t.Errorf("root of %d leaves: got %x, want %s", n, got, want)
		}
	}
}

var anyItems = rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 0, 70)

// hashesOf splits what ItemHashes put together.
func hashesOf(items [][]byte) (leaves [][]byte) {
	return slices.Collect(slices.Chunk(ItemHashes(items), sha256.Size))
}

func TestRootIsTheOneOfRFC6962(t *testing.T) {
	t.Parallel()
	for n := range 70 { // every shape, odd ones too
		items := make([][]byte, n)
		for i := range items {
			items[i] = []byte{byte(i)}
		}
		if got, want := MerkleRoot(ItemHashes(items)), rootOf(hashesOf(items)); got != want {
			t.Errorf("%d items: got %x, want %x", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		items := anyItems.Draw(t, "items")
		if got, want := MerkleRoot(ItemHashes(items)), rootOf(hashesOf(items)); got != want {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

// pathOf is the audit path of RFC 6962, section 2.1.1.
func pathOf(leaves [][]byte, at int) []hashed {
	if len(leaves) <= 1 {
		return nil
	}
	split := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	if at < split {
		return append(pathOf(leaves[:split], at), rootOf(leaves[split:]))
	}
	return append(pathOf(leaves[split:], at-split), rootOf(leaves[:split]))
}

// climb is RFC 9162, section 2.1.3.2: it needs no tree.
func climb(leaf []byte, at, size int, path []hashed) hashed {
	now, last := at, size-1
	r := leafHash(leaf)
	for _, p := range path {
		if now&1 == 1 || now == last {
			r = nodeHash(p, r)
			for now&1 == 0 && now != 0 {
				now, last = now>>1, last>>1
			}
		} else {
			r = nodeHash(r, p)
		}
		now, last = now>>1, last>>1
	}
	return r
}

// Whoever is shown one item, its path and our root can tell that it was there;
// with any bit another, it was not.
func TestEveryItemIsProvenAndNoOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 1, 70).Draw(t, "items")
		leaves, root := hashesOf(items), MerkleRoot(ItemHashes(items))
		for at := range leaves {
			if got := climb(leaves[at], at, len(leaves), pathOf(leaves, at)); got != root {
				t.Fatalf("item %d of %d is not proven", at, len(leaves))
			}
		}
		at := rapid.IntRange(0, len(leaves)-1).Draw(t, "at")
		path := pathOf(leaves, at)
		parts := [][]byte{leaves[at]}
		for i := range path {
			parts = append(parts, path[i][:])
		}
		part := rapid.SampledFrom(parts).Draw(t, "part")
		part[rapid.IntRange(0, len(part)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if climb(leaves[at], at, len(leaves), path) == root {
			t.Fatalf("item %d of %d is proven with a bit flipped", at, len(leaves))
		}
	})
}

func TestRootChangesWithAnyBit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hashes := ItemHashes(rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 40).Draw(t, "items"))
		root := MerkleRoot(hashes)
		hashes[rapid.IntRange(0, len(hashes)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if MerkleRoot(hashes) == root {
			t.Fatal("got the same root with a bit flipped")
		}
		if shorter := hashes[:len(hashes)-sha256.Size]; MerkleRoot(shorter) == root {
			t.Fatal("got the same root with an item less")
		}
	})
}

func TestMerkleRootLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	hashes := make([]byte, sha256.Size, 4*sha256.Size) // room to write into
	room := hashes[:cap(hashes)]
	before := bytes.Clone(room)
	MerkleRoot(hashes)
	if !bytes.Equal(room, before) {
		t.Error("it wrote into what it was given")
	}
}

func TestStoredBytesComeBackExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.Byte()).Draw(t, "raw")
		stored, err := Compress(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Expand(stored)
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("got %x, %v, want %x", got, err, raw)
		}
	})
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	compress := func(raw []byte) []byte {
		stored, err := Compress(raw)
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	whole := compress(bytes.Repeat([]byte("0123456789"), 1000))
	for name, stored := range map[string][]byte{
		"what is not compressed": []byte("[]"),
		"a cut tail":             whole[:len(whole)-1],
		"a flipped bit":          append(slices.Clone(whole[:20]), append([]byte{whole[20] ^ 1}, whole[21:]...)...),
		"a bomb":                 compress(make([]byte, 64<<20+1)),
	} {
		if raw, err := Expand(stored); err == nil {
			t.Errorf("%s: got %d bytes, want an error", name, len(raw))
		}
	}
	// The largest body that is ever sent is 10 MB; an answer is cut at less.
	if raw, err := Expand(compress(make([]byte, 10_000_000))); err != nil || len(raw) != 10_000_000 {
		t.Errorf("10 MB: got %d bytes, %v", len(raw), err)
	}
}

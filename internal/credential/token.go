package credential

import (
	"bytes"
	"crypto/sha256"
	"errors"
)

// LeastToken is how many bytes a token has that cannot be guessed. An empty file
// is no token.
const LeastToken = 32

var errShort = errors.New("the token is shorter than 32 bytes")

// Token reads a bearer token, and gives its hash: two of them are of one length,
// and a dump shows none.
func Token(ref string) (sum [sha256.Size]byte, err error) {
	text, err := Read(ref)
	if err != nil {
		return sum, err
	}
	if text = bytes.TrimSpace(text); len(text) < LeastToken {
		return sum, errShort
	}
	return sha256.Sum256(text), nil
}

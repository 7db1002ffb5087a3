package denylist

import (
	"strings"
	"testing"
	"time"
)

// bait repeats what a scanner could be made to look at again and again.
var bait = map[string]string{
	"digits": "1", "groups": "1.", "dashes": "1-", "spaced": "1 ", "at": "a@", "locals": "a.b@", "backslashes": `\`, "escaped quotes": `\"`,
	"names": `"name":`, "open strings": `"name":"`, "open objects": `"name":{`, "open escaped": `\"name\":\"`, "pem": "-----BEGIN ",
	"pem keys": "-----BEGIN PRIVATE KEY-----", "pem blocks": "-----BEGIN PRIVATE KEY-----M-----END PRIVATE KEY-----", "pem, quoted": "-----BEGIN PRIVATE KEY-----\"",
	"pem, other end": "-----BEGIN PRIVATE KEY----------END X-----", "placeholders": "token=***", "random": "token:a1b2c3d4e5", "jwts": "eyJhbGciOiJub25lIn0.e30.",
	"many dots": "...", "bearers": "Bearer a1b2c3d4 ", "logins": "a://b:c@d ", "objects": `{"name":{"name":[`, "hidden mails": "a%40b.cd ",
	"jwt heads": "eyJhbGciOiJub25lIn0.", "letters": "a", "base64": "QUJD", "signs": "aaaaaaaaaaaaaaaa-/",
	"bearer": "Bearer ", "schemes": "a://b:c", "equals": "token=", "colons": "token:", "hex": "a:", "double colon": "::1", "percent": "%25",
	"plus": "+5", "labels": "conta 1 ", "branches": "ag 1234 ", "phones": "(11) ", "wide": "１", "combining": "\u0301", "zero width": "\u200b",
	"cnpj": "cnpj ", "masks": "..../....-", "br code": "br.gov.bcb.pix", "invalid": "\xff", "marks": "[redacted:", "unicode": `\u0031`,
	"nested": `{"v":`, "hit": "12345678909 ", "hidden hit": "12345678909%20", "base64 hit": "MTIzNDU2Nzg5MDk=",
}

// Sixteen times the text may take sixteen times as long, and quadratic work
// takes 256 times. The comparison holds on a slow machine too, and under the
// race detector; what is over in no time is not worth comparing.
func TestWorkIsLinear(t *testing.T) {
	t.Parallel()
	for name, s := range bait { // one after the other, so that the times mean something
		t.Run(name, func(t *testing.T) {
			short, long := timed(s, 4<<10), timed(s, 64<<10)
			if long > 500*time.Millisecond && long > 64*short {
				t.Errorf("got %v for 4 KiB and %v for 64 KiB, want linear work", short, long)
			}
		})
	}
}

// timed handles a text of size bytes; Clean includes Redact, and that Find.
func timed(s string, size int) time.Duration {
	long := strings.Repeat(s, size/len(s))
	start := time.Now()
	Clean(long)
	JSON([]byte(long), nil)
	Key(long)
	return time.Since(start)
}

// A hit is found wherever it stands in a long text, and across the windows in
// which encodings are undone.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	for name, hit := range map[string]string{
		"plain": "maria@example.com", "percent": "maria%40example.com", "base64": "bWFyaWFAZXhhbXBsZS5jb20=", "wide": "１２３.４５６.７８９-０９",
	} {
		for _, before := range []int{0, window - overlap - 5, window - 9, window + 3} {
			s := strings.Repeat("é x ", before/5) + hit + strings.Repeat(" y", overlap)
			if _, ok := Find(s); !ok {
				t.Errorf("%s after %d bytes: got no hit, want one", name, before)
			}
			if out := Redact(s); strings.Contains(out, hit) || !strings.HasSuffix(out, " y y") {
				t.Errorf("%s after %d bytes: got %.60q, want only the hit replaced", name, before, out[max(0, before-30):])
			}
		}
	}
}

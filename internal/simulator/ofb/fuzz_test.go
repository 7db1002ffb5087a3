package ofb

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
)

func testRules(t testing.TB, withOfficial bool) *rules {
	t.Helper()
	list, err := readCatalogue(endpointsCSV, "private")
	if err != nil {
		t.Fatal(err)
	}
	r := &rules{registry: newRegistry(DefaultDirectory()), catalogue: list}
	if withOfficial {
		if r.official, err = newOfficial(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// FuzzItem checks the own rules against the official document: what they accept, it
// accepts. And whatever comes, there is no panic and no message above 200 characters.
func FuzzItem(f *testing.F) {
	base := callAt(someID, epoch)
	for _, i := range []item{
		base, base.without("role"), base.with("role", "SERVER"), base.with("statusCode", 200.0), base.with("additionalInfo", nil),
		base.with("endpoint", "\u0000\"é"), base.with("clientSSId", ""), base.with("correlationId", "a'b"), {},
		base.with("additionalInfo", item{"errorCodes": []string{"A", "B"}, "statusSummary": item{"available": "1"}, "paymentList": []any{1}}),
	} {
		raw, _ := json.Marshal(i)
		f.Add(raw)
	}
	f.Add([]byte(`{"role":"CLIENT","\u0072ole":"SERVER","a":[{"b":"]}\\\""}]}`))
	f.Add([]byte("{\"endpoint\":\"\xff\xfe\"}"))
	f.Add([]byte(`[1e400, -0, true]`))
	own, both := testRules(f, false), testRules(f, true)
	caller := uuid.MustParse(araucaria)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		v, _ := first(raw)
		read, message := own.judge(v, caller, epoch)
		if utf8.RuneCountInString(message) > maxMessage || !utf8.ValidString(message) {
			t.Errorf("message of %d characters: %q", utf8.RuneCountInString(message), message)
		}
		if message != "" {
			return
		}
		if _, second := both.judge(v, caller, epoch); second != "" {
			t.Errorf("the own rules accept what the official document refuses: %s\n%v", raw, both.official.accepts(raw, read))
		}
		if read.interaction == uuid.Nil || read.party() == uuid.Nil || read.endpoint == "" || read.method == "" || read.timestamp.IsZero() {
			t.Errorf("accepted without all that pairing needs: %+v", read)
		}
	})
}

// FuzzWalk compares the walker with encoding/json.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{`[]`, `{}`, ` [ 1 , "a\"]" , { "b" : [ ] } , null ] `, `{"a":1,"\u0061":{"c":"}"},"a":-1.5e3}`, `"x"`, `tru`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		v, rest := first(raw)
		if len(rest) != 0 {
			t.Fatalf("%q is left over", rest)
		}
		switch v.kind {
		case array:
			var want []json.RawMessage
			_ = json.Unmarshal(raw, &want)
			i := 0
			v.elements(func(e value) bool {
				if i >= len(want) || !bytes.Equal(e.raw, bytes.TrimSpace(want[i])) {
					t.Fatalf("element %d: got %q", i, e.raw)
				}
				i++
				return true
			})
			if i != len(want) {
				t.Fatalf("got %d elements, want %d", i, len(want))
			}
		case object:
			var want map[string]json.RawMessage
			_ = json.Unmarshal(raw, &want)
			got := map[string][]byte{}
			v.members(func(name []byte, m value) { got[string(name)] = m.raw })
			for name, m := range want {
				if !bytes.Equal(got[name], bytes.TrimSpace(m)) {
					t.Fatalf("member %q: got %q, want %q", name, got[name], m)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("got %d members, want %d", len(got), len(want))
			}
		case text:
			var want string
			_ = json.Unmarshal(raw, &want)
			if string(v.text()) != want {
				t.Fatalf("got %q, want %q", v.text(), want)
			}
		}
	})
}

package message

import "testing"

func TestC19Path(t *testing.T) {
	t.Parallel()
	const body = `{"record":{"id":1,"payload":{"amount":199.990,"state":"é\u0001","list":[{"a":1}],"none":null}},"changes":null,"action":"insert","metadata":{"consumer":{"name":"n"}}}`
	for path, want := range map[string]string{
		"record.payload":            `{"amount":199.990,"state":"é\u0001","list":[{"a":1}],"none":null}`,
		"record.payload.amount":     `199.990`,
		"record.payload.state":      `"é\u0001"`,
		"record.payload.list":       `[{"a":1}]`,
		"record.payload.list.a":     `null`,
		"record.payload.none":       `null`,
		"record.payload.none.x":     `null`,
		"record.payload.amount.x":   `null`,
		"record.other":              `null`,
		"changes":                   `null`,
		"action":                    `"insert"`,
		"metadata.consumer.name":    `"n"`,
		"metadata.consumer.missing": `null`,
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.Append([]byte("x"), []byte(body))); got != "x"+want {
			t.Errorf("%s: got %s, want %s", path, got[1:], want)
		}
	}
	for _, path := range []string{"", "payload", "record..x", "record."} {
		if _, err := ParsePath(path); err == nil {
			t.Errorf("%q: got no error", path)
		}
	}
}

func FuzzPath(f *testing.F) {
	f.Add(`{"record":{"a":[1,{"b":2}]}}`)
	f.Add(`{"record":{"a":1`)
	f.Fuzz(func(t *testing.T, body string) {
		if got := (Path{"record", "a"}).Append(nil, []byte(body)); len(got) == 0 {
			t.Fatal("got nothing, want a value or null")
		}
	})
}

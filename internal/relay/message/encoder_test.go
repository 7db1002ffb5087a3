package message

import (
	"encoding/json"
	"testing"
)

func TestEncoders(t *testing.T) {
	t.Parallel()
	const text, numeric, uuid, date = 25, 1700, 2950, 1082
	for name, c := range map[string]struct {
		is   Type
		text string
		want string
	}{
		"text is escaped as Jason does":  {Type{OID: text}, "a\"b\\c\x01\x1f\b\t\n\f\r\x7f</>&\u2028é", `"a\"b\\c\u0001\u001F\b\t\n\f\r` + "\x7f</>&\u2028é\""},
		"empty text":                     {Type{OID: text}, "", `""`},
		"an integer":                     {Type{OID: oidInt8}, "-9223372036854775808", `-9223372036854775808`},
		"true":                           {Type{OID: oidBool}, "t", `true`},
		"false":                          {Type{OID: oidBool}, "f", `false`},
		"a numeric is a string":          {Type{OID: numeric}, "199.990", `"199.990"`},
		"a float":                        {Type{OID: oidFloat8}, "100", `100.0`},
		"a large float":                  {Type{OID: oidFloat8}, "1e+10", `1.0e10`},
		"not a number":                   {Type{OID: oidFloat4}, "NaN", `"NaN"`},
		"infinity":                       {Type{OID: oidFloat8}, "-Infinity", `"-Infinity"`},
		"a uuid":                         {Type{OID: uuid}, "01a1f8d3-ea00-7000-8000-000000000001", `"01a1f8d3-ea00-7000-8000-000000000001"`},
		"a date":                         {Type{OID: date}, "2026-02-18", `"2026-02-18"`},
		"timestamptz in UTC":             {Type{OID: oidTimestamptz}, "2026-02-18 12:00:00.1234+00", `"2026-02-18T12:00:00.123400Z"`},
		"timestamptz without fraction":   {Type{OID: oidTimestamptz}, "2026-02-18 12:00:00+00", `"2026-02-18T12:00:00.000000Z"`},
		"C11 timestamptz elsewhere":      {Type{OID: oidTimestamptz}, "2026-11-20 12:00:00.5+05:30", `"2026-11-20T06:30:00.500000Z"`},
		"timestamptz west of Greenwich":  {Type{OID: oidTimestamptz}, "1999-12-31 23:59:59.999999-03", `"2000-01-01T02:59:59.999999Z"`},
		"timestamptz before time zones":  {Type{OID: oidTimestamptz}, "1800-01-01 00:00:00-00:01:15", `"1800-01-01T00:01:15.000000Z"`},
		"timestamptz without end":        {Type{OID: oidTimestamptz}, "infinity", `"infinity"`},
		"timestamptz before Christ":      {Type{OID: oidTimestamptz}, "0044-03-15 12:00:00+00 BC", `"0044-03-15 12:00:00+00 BC"`},
		"timestamptz in a far year":      {Type{OID: oidTimestamptz}, "12026-02-18 12:00:00+00", `"12026-02-18 12:00:00+00"`},
		"timestamp":                      {Type{OID: oidTimestamp}, "2026-02-18 12:00:00.12", `"2026-02-18T12:00:00.120000"`},
		"time loses its fraction":        {Type{OID: oidTime}, "10:11:12.131415", `"10:11:12"`},
		"timetz loses its zone":          {Type{OID: oidTimetz}, "10:11:12+05:30", `"10:11:12"`},
		"an interval":                    {Type{OID: oidInterval}, "1 year 2 mons -3 days -04:05:06.789", `{"months":14,"days":-3,"microseconds":-14706789000}`},
		"an interval of nothing":         {Type{OID: oidInterval}, "00:00:00", `{"months":0,"days":0,"microseconds":0}`},
		"an interval of another style":   {Type{OID: oidInterval}, "P1Y2M", `"P1Y2M"`},
		"json keeps the last of two":     {Type{OID: oidJSON}, `{"a": 1, "a": 1e3}`, `{"a":1.0e3}`},
		"jsonb":                          {Type{OID: oidJSONB}, `{"a": [1.0, "x"]}`, `{"a":[1.0,"x"]}`},
		"an array of text":               {Type{text, true}, `{a,"b c",NULL,"NULL","q\"\\"}`, `["a","b c",null,"NULL","q\"\\"]`},
		"an array of arrays":             {Type{oidInt4, true}, `{{1,2},{3,4}}`, `[[1,2],[3,4]]`},
		"an array that starts elsewhere": {Type{oidInt4, true}, `[0:1]={1,2}`, `[1,2]`},
		"an empty array":                 {Type{oidBool, true}, `{}`, `[]`},
		"an array of times":              {Type{oidTimestamptz, true}, `{"2024-01-01 00:00:00+00"}`, `["2024-01-01T00:00:00.000000Z"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := []byte(c.text + "|and what lies behind")[:len(c.text)]
			got := EncoderOf(c.is)(nil, in)
			if string(got) != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if !json.Valid(got) {
				t.Errorf("got %s, which is no JSON", got)
			}
			if string(in) != c.text || string(in[:len(in)+1]) != c.text+"|" {
				t.Errorf("the value was changed to %q", in)
			}
		})
	}
}

// FuzzEncoders gives every encoder anything: no panic.
func FuzzEncoders(f *testing.F) {
	for _, text := range []string{"{a,\"b\"}", "2026-02-18 12:00:00.1234+00", "1 day -01:02:03", "[0:1]={", ":", "+:-"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		for oid := range uint32(4000) {
			if encode := EncoderOf(Type{oid, oid%2 == 0}); oid < 100 || oid == oidInterval || oid == oidTimestamptz || oid == oidTimestamp || oid == oidTime || oid == oidJSONB || oid == oidJSON || oid == oidFloat8 {
				encode(nil, text)
			}
		}
	})
}

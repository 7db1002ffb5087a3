package ofb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/google/uuid"
)

func (j *journal) request(r *record) error {
	b := append(j.buf[:0], `{"request":`...)
	b = strconv.AppendUint(b, r.number, 10)
	b = append(b, `,"at":`...)
	b = strconv.AppendInt(b, millis(r.at), 10)
	b = append(b, `,"organisation":`...)
	b = appendID(b, r.org)
	if r.api != apiPrivate { // what an older journal does not say either
		b = appendJSONString(append(b, `,"api":`...), r.api)
	}
	b = append(b, `,"http":`...)
	b = strconv.AppendInt(b, int64(r.http), 10)
	b = append(b, `,"fault":"`...)
	b = append(b, r.fault...)
	b = append(b, `","sha256":"`...)
	b = hex.AppendEncode(b, r.sum[:])
	b = append(b, `","items":[`...)
	b = j.appendEntries(b, r.items)
	b = append(b, `],"others":[`...)
	b = j.appendEntries(b, r.others)
	b = append(b, "]}\n"...)
	j.buf = b[:0]
	return j.write(b)
}

func (j *journal) appendEntries(b []byte, entries []entry) []byte {
	for i := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = j.appendEntry(b, &entries[i])
	}
	return b
}

// appendEntry writes a list instead of an object: half of the size, and the order
// is the one readEntry knows.
func (j *journal) appendEntry(b []byte, e *entry) []byte {
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(e.state), 10)
	b = append(b, ',')
	b = strconv.AppendBool(b, e.later)
	b = append(b, `,"`...)
	b = append(b, e.role.String()...)
	b = append(b, `",`...)
	for _, id := range [...]uuid.UUID{e.id, e.interaction, e.client, e.server} {
		b = append(appendID(b, id), ',')
	}
	b = appendJSONString(b, e.endpoint)
	b = append(b, `,"`...)
	b = append(b, e.method...)
	b = append(b, `",`...)
	b = append(strconv.AppendInt(b, int64(e.status), 10), ',')
	b = append(strconv.AppendInt(b, millis(e.timestamp), 10), ',')
	b = append(strconv.AppendFloat(b, e.timespan, 'g', -1, 64), ',')
	b = append(strconv.AppendInt(b, millis(e.at), 10), ',')
	b = appendJSONString(b, e.message)
	if j.raw && len(e.raw) > 0 {
		b = append(append(b, ','), compact(e.raw)...)
	}
	return append(b, ']')
}

// compact keeps an item on one line.
func compact(item []byte) []byte {
	var b bytes.Buffer
	_ = json.Compact(&b, item) // it was valid when it came
	return b.Bytes()
}

func appendID(b []byte, id uuid.UUID) []byte {
	if id == uuid.Nil {
		return append(b, `""`...)
	}
	text, _ := id.MarshalText()
	return append(append(append(b, '"'), text...), '"')
}

func appendJSONString(b []byte, s string) []byte {
	if s == "" {
		return append(b, `""`...)
	}
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(b, quoted...)
}

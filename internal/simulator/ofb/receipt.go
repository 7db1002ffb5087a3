package ofb

import (
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
)

// receipt is what the platform says about one item. Its place in the answer is the
// only link to the item.
type receipt struct {
	idName      string
	id          string
	status      string
	correlation []byte
	message     string
}

func receiptsOf(items []entry) []receipt {
	list := make([]receipt, len(items))
	for i, e := range items {
		list[i] = receipt{idName: "reportId", id: e.id.String(), status: accepted.String(), correlation: e.correlation}
		if e.state == discarded {
			list[i].status, list[i].message = discarded.String(), e.message
		}
	}
	return list
}

func encodeReceipts(list []receipt) []byte {
	b := make([]byte, 0, 2+len(list)*96)
	b = append(b, '[')
	for i, r := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"`...), r.idName...)
		b = appendJSONString(append(b, `":`...), r.id)
		b = append(append(append(b, `,"status":"`...), r.status...), '"')
		if r.correlation != nil {
			b = append(append(b, `,"correlationId":`...), r.correlation...)
		}
		if r.message != "" {
			b = appendJSONString(append(b, `,"message":`...), r.message)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// tampered is the list as a faulty platform would answer it. odds makes "shuffle"
// and foreign ids repeatable.
func (f *Fault) tampered(list []receipt, earlier uuid.UUID, odds *rand.Rand) []receipt {
	switch {
	case len(list) == 0:
	case f.is(Shuffle):
		return shuffled(list, odds)
	case f.is(DuplicateReceipt):
		if len(list) == 1 {
			return append(list, list[0])
		}
		list[1] = list[0]
	case f.is(WrongLength):
		return resized(list, f.Extra)
	case f.is(UnknownStatus):
		for i := range list {
			list[i].status = unknownStatus
		}
	case f.is(ForeignIDs):
		for i := range list {
			list[i].idName, list[i].id = f.foreign(list[i].id, earlier, odds)
		}
	}
	return list
}

const unknownStatus = "RECEIVED"

// shuffled moves every receipt: a shuffle that leaves them in place would be no fault.
func shuffled(list []receipt, odds *rand.Rand) []receipt {
	if len(list) < 2 {
		return list
	}
	n := 1 + odds.IntN(len(list)-1)
	return slices.Concat(list[n:], list[:n])
}

func resized(list []receipt, extra int) []receipt {
	setDefault(&extra, -1)
	if extra < 0 {
		return list[:max(0, len(list)+extra)]
	}
	for i := range extra {
		r := list[i%len(list)]
		r.id = uuid.NewString()
		list = append(list, r)
	}
	return list
}

func (f *Fault) foreign(id string, earlier uuid.UUID, odds *rand.Rand) (name, foreign string) {
	switch f.Form {
	case EarlierID:
		return "reportId", earlier.String()
	case MalformedID:
		return "reportId", "report-" + id[:8]
	case EventID:
		return "eventId", id
	default:
		return "reportId", randomID(odds).String()
	}
}

package denylist

// technical are the names that this runtime itself writes. Most of a log line
// is made of them, so Key answers them without taking the name apart; a test
// holds that taking it apart gives the same answer.
var technical = map[string]bool{
	"event": true, "level": true, "time": true, "message": true, "error": true, "code": true, "reason": true,
	"state": true, "outcome": true, "class": true, "role": true, "job": true, "lane": true, "api": true,
	"ecosystem": true, "consumer": true, "subject": true, "stream": true, "source": true, "partition": true,
	"tenant": true, "tenant_id": true, "event_id": true, "event_type": true, "batch_id": true, "report_id": true,
	"correlation_id": true, "interaction_id": true, "idempotency_key": true, "organisation_id": true,
	"aggregate_type": true, "aggregate_id": true, "profile_id": true, "external_id": true,
	"trace_id": true, "span_id": true, "traceparent": true, "lsn": true, "commit_lsn": true, "stream_seq": true,
	"consumer_seq": true, "attempt": true, "items": true, "count": true, "bytes": true, "took": true, "owner": true,
	"endpoint": true, "status_code": true, "http_method": true, "version": true, "table_name": true,
	"service_name": true, "consumer_name": true, "stream_name": true, "host_name": true, "file_name": true,
}

// technicalValue says that value has exactly the shape that a technical key
// promises, so that digits in it mean nothing else: one in a hundred
// eleven-digit log positions would pass for a CPF, and one in seventy thousand
// span ids for a card.
func technicalValue(key, value string) bool {
	switch key {
	case "trace_id", "traceId":
		return len(value) == 32 && isHex(value)
	case "span_id", "spanId", "parent_id":
		return len(value) == 16 && isHex(value)
	case "lsn", "commit_lsn", "confirmed_flush_lsn", "restart_lsn", "stream_seq", "consumer_seq", "seq":
		return len(value) <= 20 && digitsEnd(value, 0) == len(value)
	}
	return false
}

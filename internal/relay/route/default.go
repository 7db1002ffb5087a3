package route

// Default is what Sequin does for a sink without a routing function:
// sequin.<database>.<schema>.<table>.<action>, under the idempotency key.
func Default(database, schema, table string) Router {
	prefix := "sequin." + database + "." + schema + "." + table + "."
	return func(to *Routed, row Row) {
		to.Subject = append(append(to.Subject[:0], prefix...), row.Action...)
		to.MsgID = row.appendKey(to.MsgID[:0])
		to.Traceparent = to.Traceparent[:0]
	}
}

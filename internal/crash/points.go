package crash

// Place is one point, and what a restart must find when the process died there.
type Place struct {
	Name    string
	Process string // which command passes it: relay or serve
	Finds   string
}

// Places are all points, in the order an event meets them. A test holds the list
// against the code, and the crash suite kills a process at each.
func Places() []Place {
	return []Place{
		{"relay_after_publish", "relay", "the slot is confirmed only behind acknowledged messages; what is sent again is met by its id"},
		{"relay_after_puback_before_confirm", "relay", "the same"},
		{"bridge_after_puback_before_2xx", "serve", "Sequin has no answer and sends the batch again; what is stored is met by its id"},
		{"in_slot_recreate", "relay", "there is no slot and its loss is written down: the next relay makes one, and what is in between is swept"},
		{"relay_in_group", "relay", "nothing of the group is stored: all of it is read and sent again"},
		{"sweep_after_publish", "serve", "nothing says what was published: it is published again, and met by its id"},
		{"after_fetch", "serve", "nothing was written: the messages come again"},
		{"after_persist_before_ack", "serve", "the rows are there: the messages come again and are duplicates"},
		{"after_ack", "serve", "as if nothing had happened"},
		{"quarantine_after_row_before_term", "serve", "one row of quarantine: the message comes again and changes nothing"},
		{"in_seal_tx", "serve", "all items wait in their chunks"},
		{"after_seal", "serve", "the batch is sealed, its bytes are frozen"},
		{"before_marker", "serve", "the batch is sealed"},
		{"after_marker_before_dial", "serve", "the batch is posting: it is given up, asked about, never posted again blindly"},
		{"after_conn", "serve", "the same"},
		{"after_k_bytes", "serve", "the same; the regulator saw half a request"},
		{"after_full_request", "serve", "the same; the regulator stored it"},
		{"after_status_line", "serve", "the same"},
		{"after_half_body", "serve", "the same"},
		{"after_body_before_receipt_tx", "serve", "the same; the receipts are found by asking"},
		{"in_receipt_tx", "serve", "receipts and state together or not at all"},
		{"after_receipt_commit", "serve", "the batch is submitted"},
		{"after_lookup_before_receipt_tx", "serve", "the round of asking is made again"},
		{"in_reclassify_page", "serve", "the page's events are still set aside: it is taken again from its beginning"},
		{"in_audit_append", "serve", "the change and its entry together or not at all"},
	}
}

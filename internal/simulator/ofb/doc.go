// Package ofb simulates the regulator of Open Finance Brasil: the Plataforma de
// Coleta de Métricas (PCM), release 2026C, as far as tokens, private reports and
// reports of open data go.
//
// It is built to be disagreed with. It imports nothing of the adapter that talks
// to it, judges items by its own rules and by the official OpenAPI document, and
// can lose, cut, delay and falsify any answer on command. It is also a witness:
// its ledger says how often each report arrived, was stored and was answered.
//
// Promise: every item of every request that passed the checks on the request as a
//
//	whole is in the journal before a byte of the answer leaves; a report
//	that was stored is never forgotten and never stored twice by a restart.
//
// State:   with Config.DataDir: a CA and client files (pki/), the key that signs
//
//	tokens (token-key.pem) and the journal (journal.jsonl), which is the
//	only record of what arrived. Pairing states are computed from it.
//	Faults, clock offset and counterparty are settings and are not kept.
//
// Failure: when the journal cannot be written the request is answered 500 and
//
//	nothing is stored. A torn last line is cut off at start; any other
//	damage stops the start, because a ledger with holes proves nothing.
package ofb

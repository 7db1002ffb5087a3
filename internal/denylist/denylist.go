// Package denylist says what must never appear in a sink that we write: logs,
// spans, metric labels, dead-letter copies, quarantine views and the free text
// of events.
//
// Promise: after Redact, Find finds nothing, and redacting again changes
// nothing. Work grows with the length of the text and no faster.
// State:   none; every function is pure.
// Failure: none of them can fail. Where a text stays suspicious after a few
// rounds the whole of it is replaced: losing a log field is cheaper than
// keeping a taxpayer number in it.
//
// What does not hit, although it could be personal data:
//
//   - a random PIX key: it is a UUID, as are most of our ids;
//   - a CPF that lost its leading zeros, or whose check digits are wrong;
//   - a bare alphanumeric CNPJ without the word "cnpj" before it;
//   - a phone number of bare digits without 55 or a word such as "tel" before
//     it, one without an area code, and one of another country;
//   - a bare 14-digit number that reads as a date and time (20261014093000);
//   - loopback, unspecified, multicast and network addresses (x.0.0.0), and a
//     dotted quad after the word "version" or before "=" (an X.500 attribute);
//     every other address hits, private ones too;
//   - names of people without a key that says so;
//   - what HTML entities, compression, encryption or two levels of base64 hide.
//
// What hits and may be innocent: one in a hundred bare 11-digit numbers has
// the check digits of a CPF, and one in seventy thousand 16-digit hexadecimal
// ids reads as a card. Field and JSON therefore pass a few technical keys whose
// value has exactly the technical shape (see technical.go).
package denylist

import "unsafe"

// Kind says what was found. It is a closed set, fit for a metric label.
type Kind string

// The kinds, in the order of this file's companions.
const (
	CPF        Kind = "cpf"
	CNPJ       Kind = "cnpj"
	Card       Kind = "card"
	Phone      Kind = "phone"
	Account    Kind = "account" // branch, account, or both
	PIX        Kind = "pix"     // a BR Code, which carries a PIX key among other digits
	Email      Kind = "email"
	IP         Kind = "ip"
	JWT        Kind = "jwt"
	Bearer     Kind = "bearer"
	PrivateKey Kind = "private_key"
	Secret     Kind = "secret" // password=..., user:password@host, Basic credentials
	DeniedKey  Kind = "key"    // the name of the field forbids its value
)

// Find reports the first hit that the search meets, which need not be the
// leftmost one. Encodings are undone as deep as depth.
func Find(s string) (Kind, bool) {
	var f search
	f.look(s, profileOf(s))
	return f.first()
}

// Bytes is Find on bytes, which must not change meanwhile.
func Bytes(b []byte) (Kind, bool) {
	// A view, not a copy: dead letters are up to megabytes, Find keeps no part
	// of its argument, and a Kind is a constant.
	return Find(unsafe.String(unsafe.SliceData(b), len(b))) //nolint:gosec // as said
}

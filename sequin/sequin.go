// Package sequin holds the configuration that Sequin and the built-in relay
// both read: which table, which slot, which subject.
//
// Promise: what the file names (tables, columns, publication, slot) exists in
//
//	the schema that this release migrates to; a test compares them.
//
// State:   none; the files are part of the binary.
// Failure: none here. Whoever reads it (internal/relay/manifest) names the key.
package sequin

import _ "embed" // for the files below

// NATS is sequin.yaml: a sink that publishes each outbox row to NATS.
//
//go:embed sequin.yaml
var NATS []byte

// Bridge is sequin.bridge.yaml: a sink that posts outbox rows to the bridge of
// `event-runtime serve`, in batches.
//
//go:embed sequin.bridge.yaml
var Bridge []byte

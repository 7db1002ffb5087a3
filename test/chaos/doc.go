// Package chaos kills, cuts and pauses the real processes, and then asks
// `event-runtime verify` and the regulator's ledger whether anything is missing
// or doubled. It holds tests only.
//
// Promise: whatever is broken, each appended event ends in the one place that
//
//	the test which appended it knows; no report is stored twice; nothing is sent
//	again after a silence without a proof of absence in between.
//
// State:   each rig has its own Postgres cluster, JetStream server and regulator;
//
//	they outlive the processes that are killed.
//
// Failure: a test that fails prints its seed (CHAOS_SEED repeats it), what every
//
//	process logged and where the batches stood.
//
// CHAOS_ALL=1 kills at every point also in the second and in the last batch;
// CHAOS_FOR=10m makes the random run longer.
package chaos

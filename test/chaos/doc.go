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
// Failure: a test that fails prints its seed (CHAOS_SEED draws the same faults
//
//	again), what every process logged and where the batches stood.
//
// The scenarios have numbers, which the names of their tests carry: 1, a process
// is killed at each crash point (TestCrashPoints/scenario_1); 2, an answer is
// lost; 3, a request is refused or reset before its first byte; 4, leaders die
// under a publisher that waits for no PubAck; 5, the slot is invalidated; 6 and 7,
// a standby is promoted, with and without the slot; 9, a worker stops for longer
// than its leases; 10, everything comes again; 11, one NATS node is gone; 12, all
// of them and their disks; 13, the database's disk is full; 14, the database is
// away; 15, poison, and a tenant that always fails; 19, a rolling deployment; 21,
// days are missing, change and go; 22, a transaction that outlives its day.
// TestWholeTree kills everything that `up` runs, TestChaos draws its faults.
//
// CHAOS_ALL=1 kills at every point also the second time and in the last batch,
// and the whole tree four times, and goes through more leaders; CHAOS_FOR=10m
// makes the random run longer.
package chaos

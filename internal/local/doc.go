// Package local runs a private Postgres and NATS on this machine, and
// supervises child processes of the one binary.
//
// Promise: one server at a time works on a directory; on Linux, what is
//
//	started here dies with the process that started it, kill -9 included.
//
// State:   the directories its callers name: a cluster, a JetStream store, or
//
//	pid files and logs. All of them survive a restart.
//
// Failure: what cannot start says why, with the end of its log. What is left
//
//	behind by an earlier kill -9 is adopted or ended, after proof that it is ours.
package local

// Package testenv gives each test real services of its own: databases, clusters,
// JetStream servers, a proxy that breaks connections at an exact byte, and the
// program itself. Only tests import it, and each package that does calls Main
// from its TestMain.
//
// Promise: nothing is shared that one test could spoil for another, and nothing
//
//	is left running: a database goes with its test, a server with its process,
//	the cluster that databases share with the last process that used it.
//
// State:   prepared data directories below a directory of the user's own in the
//
//	system's temporary directory (TESTENV_DIR moves it); removing it is safe.
//
// Failure: what is missing on this machine skips the test with the reason, in a
//
//	list that `make test` compares; everything else fails it.
package testenv

// Package examples holds tests only: programs in other languages that append
// events in their own transaction, run as the processes they are.
package examples

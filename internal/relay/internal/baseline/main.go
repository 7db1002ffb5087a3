// Command baseline relays an outbox to JetStream in one of two ways and prints
// what it took, so that they can be compared on the same rows.
//
//	own  internal/relay
//	lib  what a careful program does with libraries: pglogrepl, encoding/json,
//	     jetstream.PublishMsgAsync with a window of 4096
//
// DATABASE_URL and NATS_URL say where, -slot which slot, -rows when to end.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/finnest/event-runtime/internal/relay"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// result is one line of output.
type result struct {
	Relay      string  `json:"relay"`
	Rows       int64   `json:"rows"`
	Seconds    float64 `json:"seconds"` // from the start of the process to the last PubAck
	CPUSeconds float64 `json:"cpu_seconds"`
	PeakRSSKiB int64   `json:"peak_rss_kib"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // the end of main
	}
}

func run() error {
	began := time.Now()
	which := flag.String("relay", "own", "own or lib")
	rows := flag.Int64("rows", 0, "end after so many PubAcks; 0: never")
	slot := flag.String("slot", "runtime_outbox_slot", "for lib; own reads sequin.yaml")
	window := flag.Int("window", 4096, "for own: messages without a PubAck")
	windowBytes := flag.Int("window-bytes", 2<<20, "for own: of all of them")
	flag.Parse()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nc, _, err := transport.Connect(transport.Config{URL: os.Getenv("NATS_URL")}, "baseline")
	if err != nil {
		return err
	}
	defer nc.Close()
	switch *which {
	case "own":
		err = own(ctx, nc, *window, *windowBytes, *rows)
	case "lib":
		err = lib(ctx, nc, *slot, *rows)
	default:
		err = fmt.Errorf("no relay %q", *which)
	}
	if err != nil {
		return err
	}
	return report(*which, *rows, time.Since(began))
}

func report(which string, rows int64, took time.Duration) error {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return json.NewEncoder(os.Stdout).Encode(result{which, rows, took.Seconds(), cpu.Seconds(), peakRSS()})
}

// peakRSS is VmHWM: what getrusage says includes the parent's, before exec.
func peakRSS() int64 {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return n
		}
	}
	return 0
}

func own(ctx context.Context, nc *nats.Conn, window, windowBytes int, rows int64) error {
	r, err := relay.New(relay.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"), Window: window, WindowBytes: windowBytes, AckTimeout: 10 * time.Second, DrainFor: 5 * time.Second,
	}, nc, zerolog.New(os.Stderr))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for tick := time.NewTicker(2 * time.Millisecond); rows == 0 || r.Stats().Stored+r.Stats().Duplicate < rows; {
			<-tick.C
		}
	}()
	return r.Run(ctx)
}

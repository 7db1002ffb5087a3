package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Ports are taken from below the range that systems hand out for outgoing
// connections: a server that is restarted must find its port unused.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 64
	portName  = "port"

	portChanges = 3
)

// errPortTaken is a start that failed because somebody else listens there.
var errPortTaken = errors.New("port is taken")

// onPort runs a server on the port asked for; without one, on the port that its
// directory was served on before, or on a free one. A port nobody asked for is
// given up when another program has it. The port is kept with the directory.
func onPort(dir string, asked int, run func(port int) error) (int, error) {
	port, err := asked, error(nil)
	if port == 0 {
		if port, err = keptPort(dir); err != nil {
			return 0, err
		}
	}
	for range portChanges {
		if port == 0 {
			if port, err = FreePort(); err != nil {
				return 0, err
			}
		}
		if err = keepPort(dir, port); err != nil { // before anything runs that would have to be ended again
			return 0, err
		}
		if err = run(port); !errors.Is(err, errPortTaken) || asked != 0 {
			break
		}
		port = 0
	}
	return port, err
}

// FreePort finds a loopback TCP port that nobody listens on.
func FreePort() (int, error) {
	for range portTries {
		if port := firstPort + rand.IntN(lastPort-firstPort); portFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// keptPort is the port a directory was served on before; 0 when there is none.
func keptPort(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, portName))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read port: %w", err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read port: %w", err)
	}
	return port, nil
}

func keepPort(dir string, port int) error {
	err := os.WriteFile(filepath.Join(dir, portName), fmt.Appendf(nil, "%d\n", port), 0o600)
	if err != nil {
		return fmt.Errorf("keep port: %w", err)
	}
	return nil
}

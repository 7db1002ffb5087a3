package testenv

import (
	"bytes"
	"errors"
	"sync"
	"time"
)

// An output gathers what is printed and wakes who waits for a line.
type output struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	more   chan struct{} // closed and made anew at each write
	closed bool
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake()
	return o.buf.Write(text)
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake()
}

func (o *output) wake() {
	close(o.more)
	o.more = make(chan struct{})
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) await(text string, within time.Duration) (string, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		line, more, err := o.find(text)
		if line != "" || err != nil {
			return line, err
		}
		select {
		case <-more:
		case <-late.C:
			return "", errors.New("it took too long")
		}
	}
}

// find looks at whole lines only: the rest of one may be still to come.
func (o *output) find(text string) (line string, more <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(o.buf.Bytes()) {
		if whole, ok := bytes.CutSuffix(line, []byte("\n")); ok && bytes.Contains(whole, []byte(text)) {
			return string(whole), nil, nil
		}
	}
	if o.closed {
		return "", nil, errors.New("the process ended")
	}
	return "", o.more, nil
}

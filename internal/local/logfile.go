package local

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

const (
	defaultLogBytes = 16 << 20
	tailBytes       = 8 << 10
)

// A logFile takes a program's output and keeps at most twice its limit on disk:
// the file and the one before it. The end of this run is kept in memory too, for
// the error that says why a program died.
type logFile struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
	tail []byte
}

func openLog(path string, limit int64) (*logFile, error) {
	if limit <= 0 {
		limit = defaultLogBytes
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	l := &logFile{path: path, limit: limit}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return err
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write never fails: an error would end the copying from the pipe, and the
// program at its other end would die of writing a log line to a full disk.
func (l *logFile) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, text...)
	l.tail = l.tail[max(0, len(l.tail)-tailBytes):]
	if l.size+int64(len(text)) > l.limit && l.size > 0 {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(text)
		l.size += int64(n)
	}
	return len(text), nil
}

// rotate keeps writing to the old file when a new one cannot be had.
func (l *logFile) rotate() {
	old := l.file
	if os.Rename(l.path, l.path+".1") != nil || l.open() != nil {
		return
	}
	_ = old.Close()
}

// Tail is the end of what was written since the log was opened.
func (l *logFile) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}

// Mark forgets the tail: what follows belongs to another start.
func (l *logFile) Mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = nil
}

func (l *logFile) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

package ofb

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// journal is a file of JSON lines, one per request and one per answer that left
// whole. Nothing is synced: a process that is killed loses no page it has written,
// and a machine that loses power takes the clients with it.
type journal struct {
	file *os.File
	size int64 // of the lines that are whole
	buf  []byte
	raw  bool // keep the items as sent
	dead error
}

const journalHeader = `{"journal":"ofb","version":1}` + "\n"

// openJournal locks the file, cuts off a torn last line and positions at the end.
// The lock dies with the process, so a killed owner is no obstacle.
func openJournal(path string, raw bool, each func(line []byte) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{file: f, raw: raw}
	if err := j.load(each); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), f.Close())
	}
	return j, nil
}

func (j *journal) load(each func([]byte) error) error {
	if err := syscall.Flock(int(j.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("in use by another process: %w", err)
	}
	size, err := readLines(j.file, each)
	if err != nil {
		return err
	}
	if err := j.cutTo(size); err != nil {
		return err
	}
	if size == 0 {
		return j.write([]byte(journalHeader))
	}
	return nil
}

func (j *journal) cutTo(size int64) error {
	if err := j.file.Truncate(size); err != nil {
		return err
	}
	j.size = size
	_, err := j.file.Seek(size, 0)
	return err
}

// write appends whole lines or nothing. When not even the rest of a failed write can
// be removed, the journal takes nothing more: the next line would join the torn one.
func (j *journal) write(line []byte) error {
	if j.dead != nil {
		return j.dead
	}
	if _, err := j.file.Write(line); err != nil {
		if cut := j.cutTo(j.size); cut != nil {
			j.dead = fmt.Errorf("journal is torn: %w", cut)
		}
		return fmt.Errorf("write journal: %w", err)
	}
	j.size += int64(len(line))
	return nil
}

// close gives the lock back by name: a child that some other goroutine is just
// forking still holds a copy of the descriptor, and with it the lock.
func (j *journal) close() error {
	return errors.Join(syscall.Flock(int(j.file.Fd()), syscall.LOCK_UN), j.file.Close())
}

// answered is its own short line, because the answer leaves after the record.
func (j *journal) answered(number uint64) error {
	j.buf = append(j.buf[:0], `{"answered":`...)
	j.buf = strconv.AppendUint(j.buf, number, 10)
	j.buf = append(j.buf, "}\n"...)
	return j.write(j.buf)
}

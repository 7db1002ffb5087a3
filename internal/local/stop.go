package local

import (
	"context"
	"syscall"
	"time"
)

const (
	fastWithin      = 20 * time.Second
	immediateWithin = 5 * time.Second
)

// Stop ends the server: connections are cut, what is committed stays. When ctx
// ends first, the server leaves its checkpoint to the next start. The directory
// is given back.
func (p *Postgres) Stop(ctx context.Context) {
	defer p.release()
	p.Resume() // a paused server would hear nothing
	_ = p.proc.Signal(syscall.SIGINT)
	if p.goneWithin(ctx, fastWithin) {
		return
	}
	_ = p.proc.Signal(syscall.SIGQUIT)
	if p.goneWithin(context.WithoutCancel(ctx), immediateWithin) {
		return
	}
	p.Kill()
}

// Kill ends every process of the server at once, as a power cut would, and gives
// the directory back.
func (p *Postgres) Kill() {
	defer p.release()
	p.Pause() // nobody is forked, and nobody reacts to another's death
	for _, pid := range p.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.Done()
}

// Pause stops every process of the server in its tracks: it holds its
// connections and its locks, and answers nothing.
func (p *Postgres) Pause() {
	if !p.alive() {
		return
	}
	_ = p.proc.Signal(syscall.SIGSTOP) // first: it forks the others
	for _, pid := range p.processes() {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume undoes Pause.
func (p *Postgres) Resume() {
	for _, pid := range p.processes() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

func (p *Postgres) alive() bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// processes is empty when the server is gone: its number may be another's by then.
func (p *Postgres) processes() []int {
	if !p.alive() {
		return nil
	}
	return serverProcesses(p.PID(), p.site.data())
}

func (p *Postgres) release() {
	p.log.Close()
	p.claim.Release()
}

func (p *Postgres) goneWithin(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.Done():
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

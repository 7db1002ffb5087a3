package local

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A site is where a cluster's files are and who works on them.
//
//	dir/             ours: lock, port, superuser.password, postgres.log
//	dir/server/      the server's account owns it
//	dir/server/data/ the data directory
type site struct {
	dir  string
	bin  binaries
	user account
}

func (s site) server() string { return filepath.Join(s.dir, "server") }
func (s site) data() string   { return filepath.Join(s.dir, "server", "data") }

// own gives the server's files to its account: an earlier start may have had
// another one.
func (s site) own() error {
	err := filepath.WalkDir(s.server(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == s.user.uid {
			return nil
		}
		return os.Lchown(path, s.user.uid, s.user.gid) //nolint:gosec // the directory is ours alone
	})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", s.server(), s.user.name, err)
	}
	return nil
}

// command is a program of Postgres as the site's account. args are made from the
// path under which that account reaches the server directory: where a parent
// directory is closed to it, the descriptor it inherits.
func (s site) command(tool string, args func(server string) []string) (cmd *exec.Cmd, started func(), err error) {
	path, started := s.server(), func() {}
	var inherited []*os.File
	if s.user.byFD && fdPaths != "" {
		dir, err := os.Open(s.server())
		if err != nil {
			return nil, nil, fmt.Errorf("open server directory: %w", err)
		}
		path, inherited, started = fdPaths, []*os.File{dir}, func() { _ = dir.Close() }
	}
	cmd = exec.Command(s.bin.tool(tool), args(path)...)
	cmd.SysProcAttr, cmd.ExtraFiles = s.user.attr(), inherited
	cmd.Dir = "/" // ours may be closed to the account
	cmd.Env = append(withoutPG(os.Environ()), "LC_ALL=C")
	return cmd, started, nil
}

// withoutPG drops what would configure a server behind our back: PGDATA, PGPORT.
func withoutPG(env []string) []string {
	var kept []string
	for _, pair := range env {
		if !strings.HasPrefix(pair, "PG") && !strings.HasPrefix(pair, "LC_ALL=") {
			kept = append(kept, pair)
		}
	}
	return kept
}

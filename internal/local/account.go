package local

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// databaseUser is the account that packages of Postgres create.
const databaseUser = "postgres"

// An account is the operating system user a server runs as; Postgres refuses root.
type account struct {
	name     string
	uid, gid int                         // who owns the server's files, as this process sees it
	attr     func() *syscall.SysProcAttr // fresh for each process: Spawn adds to it
	byFD     bool                        // its path may lead through directories the account cannot enter
}

// ourselves is the account of a process that is not root.
func ourselves() account {
	return account{
		name: "this user", uid: os.Getuid(), gid: os.Getgid(),
		attr: func() *syscall.SysProcAttr { return &syscall.SysProcAttr{} },
	}
}

// asDatabaseUser gives root's rights away to the user postgres.
func asDatabaseUser(why error) (account, error) {
	u, err := user.Lookup(databaseUser)
	if err != nil {
		return account{}, fmt.Errorf("postgres cannot run as root: a user namespace is refused (%w) and there is no user %q: create it (useradd --system %s), or start as another user", why, databaseUser, databaseUser)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("user id of %s: %w", databaseUser, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("group id of %s: %w", databaseUser, err)
	}
	return account{
		name: databaseUser, uid: int(uid), gid: int(gid), byFD: true,
		attr: func() *syscall.SysProcAttr {
			return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		},
	}, nil
}

// chooseAccount decides by trying: whether a user namespace may be had depends
// on the kernel, its settings and the container.
func chooseAccount(b binaries) (account, error) {
	if os.Getuid() != 0 {
		return ourselves(), nil
	}
	a := inNamespace()
	probe := exec.Command(b.tool("postgres"), "--version")
	probe.SysProcAttr = a.attr()
	if err := probe.Run(); err != nil {
		return asDatabaseUser(err)
	}
	return a, nil
}

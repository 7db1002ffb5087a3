package local

import (
	"os"
	"syscall"
)

// nobody is a user id that is not 0 and that passwd knows: initdb looks it up.
const nobody = 65534

// inNamespace runs the server as nobody in a user namespace where nobody is us.
// Outside, its files are ours and it may go wherever we may, also below a
// directory that only root can enter.
func inNamespace() account {
	return account{
		name: "nobody in a user namespace", uid: os.Getuid(), gid: os.Getgid(),
		attr: func() *syscall.SysProcAttr {
			return &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getgid(), Size: 1}},
			}
		},
	}
}

const fdPaths = "/proc/self/fd/3"

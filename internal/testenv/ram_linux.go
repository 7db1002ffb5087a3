package testenv

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	sharedMemory = "/dev/shm"
	tmpfsMagic   = 0x01021994
	enoughMemory = 4 << 30
)

// memoryRoot is a file system in memory, where there is plenty of both. Making
// the some 350 files of a database there takes a tenth of the time.
func memoryRoot() (string, bool) {
	var fs syscall.Statfs_t
	if syscall.Statfs(sharedMemory, &fs) != nil || fs.Type != tmpfsMagic {
		return "", false
	}
	free := int64(fs.Bavail) * fs.Bsize
	return sharedMemory, free >= enoughMemory && availableMemory() >= enoughMemory
}

func availableMemory() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemAvailable:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

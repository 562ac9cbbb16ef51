//go:build unix

package realtime

import (
	"math"

	"golang.org/x/sys/unix"
)

// maxFiles returns how many files, sockets among them, the process may have
// open.
func maxFiles() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt32
	}
	if uint64(l.Cur) > math.MaxInt32 { //nolint:unconvert // a signed number on some systems
		return math.MaxInt32
	}
	return int(l.Cur)
}

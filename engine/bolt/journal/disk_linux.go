package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves the disk for n bytes from offset on. File systems that cannot do so notice a full
// disk when something is written.
func allocate(f *os.File, offset, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, offset, n)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		default:
			return err
		}
	}
}

// syncData is Sync without what is not needed to read the data again.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

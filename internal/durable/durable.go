// Package durable makes the names of files last: a file that has been renamed has its name after a loss of power, too.
package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// Rename gives a file its name, in place of a file that has it, and returns when that is on the disk. The contents of the
// file must be there already.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// SyncFolder brings the names in a folder to the disk.
func SyncFolder(path string) error {
	if runtime.GOOS == "windows" { // which cannot, and need not
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

//go:build !linux

package bolt

import "testing"

func smallDisk(t *testing.T, _ int) string {
	t.Helper()
	t.Skip("there is no small disk on this system")
	return ""
}

func notWritable(t *testing.T, _ string) {
	t.Helper()
	t.Skip("there is no disk that cannot be written on this system")
}

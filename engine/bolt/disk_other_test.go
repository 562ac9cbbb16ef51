//go:build !linux

package bolt

import "testing"

func smallDisk(t *testing.T, _ int) string {
	t.Helper()
	t.Skip("there is no small disk on this system")
	return ""
}

package caddytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// awaitOldListeners waits until the listeners of the configuration before are closed.
// Caddy opens the new ones beside them (SO_REUSEPORT) and closes the old ones in the
// background: until then the old server may still accept what a test dials, and what it
// does not accept is reset. Without /proc it does not wait.
func awaitOldListeners(t *testing.T) {
	t.Helper()
	Eventually(t, "the old listeners are closed", func() bool {
		seen := map[string]bool{}
		for _, address := range listening() {
			if seen[address] {
				return false
			}
			seen[address] = true
		}
		return true
	})
}

// listening returns the address of each TCP socket at which this process listens
// (proc_pid_net(5)).
func listening() (addresses []string) {
	own := map[string]bool{}
	files, _ := filepath.Glob("/proc/self/fd/*")
	for _, file := range files {
		link, _ := os.Readlink(file)
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		rows, _ := os.ReadFile(table)
		for row := range strings.Lines(string(rows)) {
			// sl, local_address, rem_address, st, four of queues and timers, … inode
			columns := strings.Fields(row)
			if len(columns) > 9 && columns[3] == "0A" && own[columns[9]] {
				addresses = append(addresses, columns[1])
			}
		}
	}
	return addresses
}

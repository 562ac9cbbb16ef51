package hub_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of this package outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(2 * time.Second)
	left := leaked()
	for ; len(left) > 0 && time.Now().Before(deadline); left = leaked() {
		<-time.After(10 * time.Millisecond)
	}
	if code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "goroutines outlive the tests:\n\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of all goroutines but this one that run code of
// this module.
func leaked() (stacks []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for i, g := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(g, "caddy-realtime/realtime") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

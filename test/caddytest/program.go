package caddytest

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build builds Caddy with everything in, once for the process, and returns its path.
var build = sync.OnceValues(func() (string, error) {
	program := filepath.Join(dir, "program") // Caddy has a folder "caddy" there
	out, err := exec.Command("go", "build", "-o", program, "github.com/caddy-realtime/realtime/cmd/caddy").CombinedOutput()
	if err != nil {
		return "", &buildError{err, string(out)}
	}
	return program, nil
})

type buildError struct {
	error

	output string
}

func (e *buildError) Error() string { return e.error.Error() + "\n" + e.output }

// Program is a Caddy in a process of its own, for what cannot be seen from inside: how it ends.
type Program struct {
	t      *testing.T
	cmd    *exec.Cmd
	config string
	log    *lockedText
	exited chan error
}

// lockedText is what a process writes.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// StartProgram runs a whole Caddyfile in a process of its own, until the test ends at the latest. It
// returns when the sites answer.
func StartProgram(t *testing.T, caddyfile string, sites ...*Site) *Program {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatalf("building: %v", err)
	}
	p := &Program{t: t, config: filepath.Join(t.TempDir(), "Caddyfile"), log: new(lockedText), exited: make(chan error, 1)}
	p.write(caddyfile)
	p.cmd = exec.CommandContext(t.Context(), program, "run", "--config", p.config, "--adapter", "caddyfile")
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the program said:\n%s", p.log)
		}
	})
	for _, s := range sites {
		Eventually(t, "the server", func() bool {
			resp, err := http.Head(s.URL + "/rt/lobby")
			if err == nil {
				_ = resp.Body.Close()
			}
			return err == nil
		})
	}
	return p
}

func (p *Program) write(caddyfile string) {
	p.t.Helper()
	if err := os.WriteFile(p.config, []byte(caddyfile), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Reload begins to reload the program with another Caddyfile, through an admin API at host and port. The
// result of the command is sent to the channel.
func (p *Program) Reload(admin, caddyfile string) <-chan error {
	p.t.Helper()
	p.write(caddyfile)
	done := make(chan error, 1)
	cmd := exec.CommandContext(p.t.Context(), p.cmd.Path, "reload", "--config", p.config, "--adapter", "caddyfile", "--address", admin)
	go func() { done <- cmd.Run() }()
	return done
}

// Terminate asks the program to end.
func (p *Program) Terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// Exits checks that the program ends within the time, with status 0.
func (p *Program) Exits(within time.Duration) {
	p.t.Helper()
	select {
	case err := <-p.exited:
		if err != nil {
			p.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(within):
		p.t.Fatalf("the server has not ended after %s", within)
	}
}

// Runs checks that the program has not ended.
func (p *Program) Runs() {
	p.t.Helper()
	select {
	case err := <-p.exited:
		p.t.Fatalf("the server has ended already, with %v", err)
	default:
	}
}

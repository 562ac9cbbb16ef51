package process

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-realtime/realtime/internal/freeport"
)

// Process is a running server: one process, or a master with its workers.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

const (
	startTime = 15 * time.Second
	stopTime  = 5 * time.Second
)

// Start starts a server and waits until it listens on all those ports. Its output goes
// to the file named log. It ends when we end.
func Start(cmd *exec.Cmd, log string, ports ...int) (*Process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	for _, port := range ports {
		if err := p.await(port); err != nil {
			p.Stop()
			return nil, err
		}
	}
	return p, nil
}

func (p *Process) await(port int) error {
	timeout := time.After(startTime)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("it ended at its start: %s", p.Said())
		case <-timeout:
			return fmt.Errorf("it does not listen on port %d: %s", port, p.Said())
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return c.Close()
		}
	}
}

// pids returns the server's process and those that it has started by now.
func (p *Process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for w := range bytes.FieldsSeq(b) {
			if n, err := strconv.Atoi(string(w)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// Said returns the last of what the server said.
func (p *Process) Said() string {
	b, _ := os.ReadFile(p.log)
	return strings.TrimSpace(string(b[max(len(b)-600, 0):]))
}

// Running reports whether the server has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// CPU returns the processor time that the server used since it began, user and
// system.
func (p *Process) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.pids() {
		var t unix.Timespec
		// A process's clock, see clock_getcpuclockid(3): CPUCLOCK_SCHED is 2.
		if err := unix.ClockGettime(int32(^pid<<3|2), &t); err != nil {
			return 0, fmt.Errorf("clock of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// Own returns the processor time that this process used since it began.
func Own() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// RSS returns the bytes that the server has in memory. Memory that its processes share
// counts once.
func (p *Process) RSS() (int64, error) {
	var sum int64
	for _, pid := range p.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		kb, err := field(string(b), "Pss:")
		if err != nil {
			return 0, err
		}
		sum += kb << 10
	}
	return sum, nil
}

func field(text, name string) (int64, error) {
	_, after, ok := strings.Cut(text, "\n"+name)
	words := strings.Fields(after)
	if !ok || len(words) == 0 {
		return 0, errors.New("no " + name)
	}
	return strconv.ParseInt(words[0], 10, 64)
}

// Files returns how many files the server's first process has open.
func (p *Process) Files() (int, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	return len(files), err
}

// Done returns a channel that is closed when the server has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode returns how the server has ended, see [os.ProcessState.ExitCode].
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the server.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends the server, in a hurry if it must.
func (p *Process) Stop() {
	pids := p.pids()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(stopTime):
	}
	for _, pid := range pids {
		if pid != p.cmd.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// FreePorts returns ports of 127.0.0.1 that nobody listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		port, err := freeport.Get()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

package realtime

import (
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// progressAfter is how long something takes before its progress is shown.
const progressAfter = time.Second

// progress shows on a terminal how far a command has come, once it takes longer than a second. Elsewhere it
// shows nothing. It is an io.Writer of what is done.
type progress struct {
	begun time.Time
	bar   *progressbar.ProgressBar // nil: nothing is shown

	mu    sync.Mutex // an import may be answered while it is still sent
	shown bool
	done  int64
}

// counted are the options that show how many of something are done, and inBytes how many bytes.
var (
	counted = []progressbar.Option{progressbar.OptionShowCount()}
	inBytes = []progressbar.Option{progressbar.OptionShowCount(), progressbar.OptionShowBytes(true)}
)

// newProgress returns the progress of what a command does; total is how much that is, or -1 if nobody knows.
func newProgress(cmd *cobra.Command, what string, total int64, options ...progressbar.Option) *progress {
	p := &progress{begun: time.Now()}
	out := cmd.ErrOrStderr()
	if !isTerminal(out) {
		return p
	}
	p.bar = progressbar.NewOptions64(total, append(slices.Clip(options),
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0))...) // no goroutine of its own
	p.bar.StartWithoutRender()
	return p
}

// isTerminal reports whether what is written to w is shown on a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// add notes that n more are done.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	switch {
	case p.bar == nil:
	case p.shown:
		_ = p.bar.Add64(n)
	case time.Since(p.begun) > progressAfter:
		p.shown = true
		_ = p.bar.Add64(p.done)
	}
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.add(int64(len(b)))
	return len(b), nil
}

// end takes away what is shown. Nothing is shown any more.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_ = p.bar.Clear()
	}
	p.bar = nil
}

// while shows that something goes on, until f returns.
func (p *progress) while(f func() error) error {
	defer p.end()
	if p.bar == nil {
		return f()
	}
	ended := make(chan error, 1)
	go func() { ended <- f() }() // joined below
	tick := time.NewTicker(progressAfter / 4)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			p.spin()
		}
	}
}

// spin shows that it still goes on.
func (p *progress) spin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.begun) > progressAfter {
		p.shown = true
		_ = p.bar.RenderBlank()
	}
}

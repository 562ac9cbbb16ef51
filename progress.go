package realtime

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// progressAfter is how long something takes before its progress is shown.
const progressAfter = time.Second

// progress shows on a terminal how far a command has come, once it takes longer than a second. Elsewhere it
// shows nothing. It is an io.Writer of what is done. Its methods are for one goroutine.
type progress struct {
	begun time.Time
	fresh func() *progressbar.ProgressBar // nil: nothing is shown
	bar   *progressbar.ProgressBar        // nil: not yet
	done  int64
}

// newProgress returns the progress of what a command does with so many bytes, or messages if inBytes is not set;
// total is -1 if nobody knows how many.
func newProgress(cmd *cobra.Command, what string, total int64, inBytes bool) *progress {
	p := &progress{begun: time.Now()}
	out, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !isTerminal(out) {
		return p
	}
	p.fresh = func() *progressbar.ProgressBar {
		return progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(inBytes),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetSpinnerChangeInterval(0)) // no goroutine of its own
	}
	return p
}

// isTerminal reports whether what is written to w is shown on a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// add notes that n more are done.
func (p *progress) add(n int64) {
	p.done += n
	switch {
	case p.fresh == nil:
	case p.bar != nil:
		_ = p.bar.Add64(n)
	case time.Since(p.begun) > progressAfter:
		p.bar = p.fresh()
		_ = p.bar.Add64(p.done)
	}
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.add(int64(len(b)))
	return len(b), nil
}

// end takes away what is shown.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// while shows that something goes on, until f returns.
func (p *progress) while(f func() error) error {
	defer p.end()
	if p.fresh == nil {
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
			p.add(0)
		}
	}
}

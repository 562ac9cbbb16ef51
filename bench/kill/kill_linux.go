package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddy-realtime/realtime/bench/process"
)

// Options says what to run. All but Limit and Progress must be set.
type Options struct {
	Command    func() *exec.Cmd // starts the server
	Dir        string           // for what it says
	URL        string           // where its rooms begin, without a slash at the end
	Kills      int
	Limit      time.Duration // no more kills after that; 0: none is left out
	Clients    int           // on each transport
	Rooms      int
	Publishers int           // of each kind
	Every      time.Duration // between two messages of one publisher
	Settle     time.Duration // how long readers may take to have everything, at the end
	Progress   func(string)
}

// The bounds of the moment of a kill.
const (
	leastUp, mostUp = 100 * time.Millisecond, 2 * time.Second // after it serves
	mostStart       = 100 * time.Millisecond                  // after it was started, in every fourth round
	patience        = 20 * time.Second                        // for a start, and for a stop
)

// run is one run's shared state.
type run struct {
	Options
	http    *http.Client
	epoch   string
	rooms   []string
	begins  map[string]string // cursors from before the first message, by room
	quit    chan struct{}     // closed when nothing new is to be published
	starts  int
	serving time.Duration // how long the last whole start took

	mu     sync.Mutex
	acked  map[string]publication // by id
	named  map[string]string      // the text that somebody has seen under an id
	reused map[string]bool        // ids that stood for two texts
	notes  []string               // the first faults, in words
}

// publication is what was acknowledged.
type publication struct{ room, text string }

// Run runs the server, and kills it. The error says that it could not be done; what is broken is in the result.
func Run(ctx context.Context, o Options) (res Result, err error) {
	r := &run{Options: o, quit: make(chan struct{}), begins: make(map[string]string), acked: make(map[string]publication), named: make(map[string]string), reused: make(map[string]bool)}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}
	defer transport.CloseIdleConnections()
	r.http = &http.Client{Transport: transport}
	for i := range o.Rooms {
		r.rooms = append(r.rooms, fmt.Sprint("room", i))
	}
	server, err := r.start(ctx, &res)
	if err != nil {
		return res, err
	}
	defer func() {
		if server != nil {
			server.Stop()
		}
	}()
	if err := r.begin(ctx); err != nil {
		return res, err
	}
	reading, cancel := context.WithCancel(ctx)
	clients, publishers := r.newClients(), r.newPublishers()
	var readers, writers sync.WaitGroup
	defer func() { cancel(); readers.Wait(); writers.Wait() }()
	for _, c := range clients {
		readers.Go(func() { c.live(reading) })
	}
	for _, p := range publishers {
		writers.Go(func() { p.live(reading) })
	}
	if server, err = r.kills(ctx, server, &res); err != nil {
		return res, err
	}
	if err := wait(ctx, time.Second); err != nil { // all come back while messages flow
		return res, err
	}
	close(r.quit)
	writers.Wait()
	logs, err := r.readAll(ctx, &res)
	if err != nil {
		return res, err
	}
	r.settle(ctx, clients, logs)
	cancel()
	readers.Wait()
	r.judge(&res, logs, clients, publishers)
	return res, r.stop(server, &res)
}

// kills kills the server as often as it was told, every fourth time in the middle of its start, and returns the one that
// runs then.
func (r *run) kills(ctx context.Context, server *process.Process, res *Result) (_ *process.Process, err error) {
	began := time.Now()
	for n := 0; n < r.Kills && (r.Limit == 0 || time.Since(began) < r.Limit); n++ {
		r.say(fmt.Sprintf("%d of %d kills", n, r.Kills))
		wanted := leastUp + rand.N(mostUp-leastUp)
		switch {
		case n%4 == 1:
			wanted = rand.N(mostStart)
			if n%8 == 5 {
				wanted = rand.N(r.serving) // anywhere in it, also where files are opened
			}
			res.Starts++
			server, err = r.exec()
		case n > 0:
			server, err = r.start(ctx, res)
		}
		if err == nil {
			err = wait(ctx, wanted)
		}
		if err == nil {
			err = r.kill(server, res)
		}
		if err != nil {
			return server, err
		}
	}
	return r.start(ctx, res)
}

func (r *run) say(text string) {
	if r.Progress != nil {
		r.Progress(text)
	}
}

// log returns the file with what the server has said after its last start.
func (r *run) log() string { return filepath.Join(r.Dir, fmt.Sprintf("log-%d", r.starts)) }

// exec starts the server, and does not wait for it.
func (r *run) exec() (*process.Process, error) {
	r.starts++
	return process.Start(r.Command(), r.log())
}

// start starts the server and waits until it serves.
func (r *run) start(ctx context.Context, res *Result) (*process.Process, error) {
	began := time.Now()
	server, err := r.exec()
	if err != nil {
		return server, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		resp, err := r.request(ctx, http.MethodHead, "/"+r.rooms[0], nil)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				r.serving = time.Since(began)
				res.Serving = append(res.Serving, r.serving)
				return server, nil
			}
		}
		if !server.Running() {
			return server, fmt.Errorf("it ended at its start: %s", server.Said())
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return server, fmt.Errorf("it does not serve after %s: %s", patience, server.Said())
		}
	}
}

// kill kills the server.
func (r *run) kill(server *process.Process, res *Result) error {
	if err := server.Signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("the server had ended before it was killed: %w: %s", err, server.Said())
	}
	<-server.Done()
	res.Kills++
	return r.heed(res)
}

// stop ends the server in order.
func (r *run) stop(server *process.Process, res *Result) error {
	if err := server.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-server.Done():
	case <-time.After(patience):
		return fmt.Errorf("the server has not ended after %s", patience)
	}
	if code := server.ExitCode(); code != 0 {
		return fmt.Errorf("the server ended with status %d: %s", code, server.Said())
	}
	return r.heed(res)
}

// heed takes the errors out of what the server has said.
func (r *run) heed(res *Result) error {
	text, err := os.ReadFile(r.log())
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"level":"error"`) || strings.Contains(line, `"level":"panic"`) || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			res.Said = append(res.Said, strings.TrimSpace(line))
		}
	}
	return errors.Join(err, os.Remove(r.log()))
}

// begin finds out where the rooms begin.
func (r *run) begin(ctx context.Context) error {
	for _, room := range r.rooms {
		resp, err := r.request(ctx, http.MethodHead, "/"+room, nil)
		if err != nil {
			return err
		}
		resp.Body.Close()
		cursor := strings.Trim(resp.Header.Get("ETag"), `"`)
		r.epoch, _, _ = strings.Cut(cursor, ".")
		if _, ok := r.offset(cursor); !ok {
			return fmt.Errorf("%s has no cursor: %s", room, resp.Status)
		}
		r.begins[room] = cursor
	}
	return nil
}

// settle waits until each reader has the end of its room, for so long as it may take.
func (r *run) settle(ctx context.Context, clients []*client, logs map[string][]message) {
	ctx, cancel := context.WithTimeout(ctx, r.Settle)
	defer cancel()
	for _, c := range clients {
		log := logs[c.room]
		for len(log) > 0 && c.newest.Load() < log[len(log)-1].offset {
			if wait(ctx, 10*time.Millisecond) != nil {
				return // what is missing is counted
			}
		}
	}
}

// fault notes in words what must not happen.
func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faultLocked(format, args...)
}

func (r *run) faultLocked(format string, args ...any) {
	if len(r.notes) < 20 {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

// saw notes that an id stood for a text.
func (r *run) saw(id, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, known := r.named[id]; known && was != text {
		r.reused[id] = true
		r.faultLocked("%s is the id of %q and of %q", id, was, text)
	}
	r.named[id] = text
}

// wait waits for so long, unless ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

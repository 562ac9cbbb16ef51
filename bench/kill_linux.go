package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/bench/kill"
	"github.com/caddy-realtime/realtime/bench/process"
)

func init() {
	commands["kill"] = runKill
}

func runKill(args []string) error {
	flags := flag.NewFlagSet("kill", flag.ExitOnError)
	o := kill.Options{Settle: 30 * time.Second, Progress: status(os.Stderr)}
	flags.IntVar(&o.Kills, "times", 50, "how often Caddy is killed")
	flags.DurationVar(&o.Limit, "for", 0, "no more kills after this time (default: none is left out)")
	flags.IntVar(&o.Clients, "clients", 10, "how many readers on each transport")
	flags.IntVar(&o.Rooms, "rooms", 5, "in how many rooms")
	flags.IntVar(&o.Publishers, "publishers", 2, "how many publishers of each kind")
	flags.DurationVar(&o.Every, "every", 20*time.Millisecond, "time between two messages of a publisher")
	sync := flags.String("sync", "100ms", "the option sync of the engine")
	limit := flags.Duration("time", 20*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	r, err := killServer(ctx, o, *sync)
	o.Progress("")
	if err != nil {
		return err
	}
	printKilled(r)
	return r.Err()
}

// printKilled prints what the kills have broken.
func printKilled(r kill.Result) {
	slices.Sort(r.Serving)
	fmt.Printf("%d kills, %d of them in the middle of a start; it served %s after its start (median), %s at most\n\n",
		r.Kills, r.Starts, r.Serving[len(r.Serving)/2].Round(time.Millisecond), r.Serving[len(r.Serving)-1].Round(time.Millisecond))
	const row = "%-14v %7v %11v %12v %9v %7v %5v %12v %4v %8v\n"
	fmt.Printf(row, "readers", "clients", "connections", "acknowledged", "received", "missing", "twice", "out of order", "gaps", "vanished")
	for _, s := range r.Transports {
		fmt.Printf(row, s.Name, s.Clients, s.Connections, s.Acknowledged, s.Received, s.Missing, s.Twice, s.Disordered, s.Gaps, s.Vanished)
	}
	const published = "%-19v %6v %12v %10v\n"
	fmt.Printf("\n"+published, "publishers", "sent", "acknowledged", "sent again")
	for _, s := range r.Publishers {
		fmt.Printf(published, s.Name, s.Sent, s.Acknowledged, s.Repeated)
	}
	fmt.Printf("\nthe rooms, read from their beginning: %d messages, of which %d were never acknowledged; acknowledged but missing %d, ids used twice %d, messages published twice %d, gaps %d\n",
		r.Messages, r.Untold, r.Missing, r.Reused, r.Doubled, r.Gaps)
	if lines := slices.Concat(r.Faults, r.Said); len(lines) > 0 {
		fmt.Println(strings.Join(lines, "\n"))
	}
}

// killServer runs a Caddy whose rooms are in a file, in a process of its own that is killed again and again.
func killServer(ctx context.Context, o kill.Options, sync string) (r kill.Result, err error) {
	if o.Dir, err = os.MkdirTemp("", "realtime-bench"); err != nil {
		return r, err
	}
	defer os.RemoveAll(o.Dir)
	program := filepath.Join(o.Dir, "caddy.bin")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/caddy-realtime/realtime/cmd/caddy").CombinedOutput(); err != nil {
		return r, fmt.Errorf("go build ./cmd/caddy: %w: %s", err, out)
	}
	ports, err := process.FreePorts(1)
	if err != nil {
		return r, err
	}
	o.URL = fmt.Sprintf("http://127.0.0.1:%d/rt", ports[0])
	config := filepath.Join(o.Dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
}
http://127.0.0.1:%d {
	realtime {
		rate off
		max_connections_per_address off
		engine bolt %s {
			sync %s
		}
		room * {
			history off off
		}
	}
}
`, ports[0], filepath.Join(o.Dir, "rooms.db"), sync)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return r, err
	}
	o.Command = func() *exec.Cmd {
		cmd := exec.Command(program, "run", "--config", config, "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+o.Dir, "XDG_CONFIG_HOME="+o.Dir, "HOME="+o.Dir)
		return cmd
	}
	return kill.Run(ctx, o)
}

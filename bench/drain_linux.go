package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/bench/drain"
	"github.com/caddy-realtime/realtime/bench/process"
)

func init() {
	commands["drain"] = runDrain
}

func runDrain(args []string) error {
	flags := flag.NewFlagSet("drain", flag.ExitOnError)
	o := drain.Options{}
	flags.IntVar(&o.Clients, "clients", 5000, "how many clients")
	flags.IntVar(&o.Rooms, "rooms", 10, "in how many rooms")
	flags.DurationVar(&o.Every, "every", 5*time.Millisecond, "time between two messages, over all rooms")
	flags.IntVar(&o.Reloads, "reloads", 20, "how many reloads, before one that is interrupted")
	flags.DurationVar(&o.Between, "between", time.Second, "time between two reloads")
	flags.DurationVar(&o.Drain, "drain", 5*time.Second, "the option drain")
	flags.DurationVar(&o.Settle, "settle", 40*time.Second, "time for old connections to close, before the server's use is measured")
	limit := flags.Duration("time", 5*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	r, err := drainServer(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("%d clients saw all messages of their rooms once and in order: %d messages, %d deliveries\n", o.Clients, r.Messages, r.Delivered)
	fmt.Printf("%d reloads, each of which took %s; %d streams and polls moved; no WebSocket and no HTTP/1.1 stream ended\n", o.Reloads, r.Loading.Round(time.Millisecond), r.Moved)
	fmt.Printf("before and after the reloads: %d and %d goroutines, %d and %d files, %.1f and %.1f MB of heap, %.1f and %.1f MB resident\n", r.Before.Goroutines, r.After.Goroutines,
		r.Before.Files, r.After.Files, float64(r.Before.Heap)/1e6, float64(r.After.Heap)/1e6, float64(r.Before.Memory)/1e6, float64(r.After.Memory)/1e6)
	fmt.Printf("SIGTERM in the middle of a reload: exit %d after %s; %d clients were told to go, %d were between two connections\n", r.Code, r.Exit.Round(time.Millisecond), len(r.Byes), r.Away)
	printHistogram(r.Byes, o.Drain)
	return nil
}

// printHistogram prints when clients were told to go.
func printHistogram(byes []time.Duration, over time.Duration) {
	const steps = 20
	var counts [steps + 1]int
	for _, at := range byes {
		counts[min(max(int(at*steps/over), 0), steps)]++
	}
	for i, n := range counts {
		label := fmt.Sprintf("%5.2f to %5.2f s", (over * time.Duration(i) / steps).Seconds(), (over * time.Duration(i+1) / steps).Seconds())
		if i == steps {
			label = "          later"
		}
		fmt.Printf("%s %5d %s\n", label, n, strings.Repeat("#", n*60/max(len(byes)/10, 1)))
	}
}

// drainServer runs a Caddy in a process of its own, and ends it.
func drainServer(ctx context.Context, o drain.Options) (r drain.Result, err error) {
	dir, err := os.MkdirTemp("", "realtime-bench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "caddy.bin")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/caddy-realtime/realtime/cmd/caddy").CombinedOutput(); err != nil {
		return r, fmt.Errorf("go build ./cmd/caddy: %w: %s", err, out)
	}
	ports, err := process.FreePorts(3)
	if err != nil {
		return r, err
	}
	o.Config = func(round int) string {
		return fmt.Sprintf(`{
	admin 127.0.0.1:%d
	persist_config off
	grace_period %s
	skip_install_trust
	auto_https disable_redirects
	log {
		level ERROR
	}
}
http://127.0.0.1:%d, https://localhost:%d {
	tls internal
	realtime {
		rate off
		max_connections_per_address off
		drain %s
		max_rooms %d
		heartbeat %ds
		room * {
			history %d
		}
	}
}
`, ports[2], o.Drain, ports[0], ports[1], o.Drain, 1000+round, 20+round%5, 2000+round)
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(o.Config(0)), 0o600); err != nil {
		return r, err
	}
	cmd := exec.Command(program, "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	if o.Server, err = process.Start(cmd, filepath.Join(dir, "log"), ports...); err != nil {
		return r, err
	}
	defer o.Server.Stop()
	o.Plain, o.TLS = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("https://localhost:%d", ports[1])
	// In the middle of a reload Caddy waits first for the old servers and then for the new ones.
	o.Admin, o.Patient = fmt.Sprintf("http://127.0.0.1:%d", ports[2]), 2*o.Drain+4*time.Second
	r, err = drain.Run(ctx, o)
	switch {
	case err != nil:
		return r, fmt.Errorf("%w\nthe server said: %s", err, o.Server.Said())
	case r.Code != 0:
		return r, fmt.Errorf("the server ended with status %d: %s", r.Code, o.Server.Said())
	case len(r.Byes) == 0 || r.Byes[len(r.Byes)-1] > o.Drain:
		return r, errors.New("not all clients were told to go in time")
	}
	return r, nil
}

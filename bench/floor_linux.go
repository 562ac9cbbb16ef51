package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/bench/judge"
)

func runFloor(args []string) error {
	flags := flag.NewFlagSet("floor", flag.ExitOnError)
	subscribers := flags.String("n", "1000,10000", "how many subscribers")
	rounds := flags.Int("rounds", 9, "rounds of each comparison")
	engine := flags.String("engine", "", "judge this `engine`, as bolt, by the engine memory: WebSockets, published by POST")
	only := flags.String("only", "", "a regular expression for what to run, as `WebSocket, 1000 subscribers, 128 B`")
	limit := flags.Duration("time", 10*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error
	o := judge.Options{Rounds: max(*rounds, 1), Progress: status(os.Stderr)}
	for s := range strings.SplitSeq(*subscribers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 2 {
			return fmt.Errorf("-n %s: needs numbers from 2", *subscribers)
		}
		o.Subscribers = append(o.Subscribers, n)
	}
	var err error
	if o.Only, err = regexp.Compile(*only); err != nil {
		return err
	}
	head := []any{"", "subscribers", "bytes", "burst", "floor", "ours", "ours ÷ floor"}
	if *engine != "" {
		head = []any{"", "subscribers", "bytes", "burst", "memory", *engine, *engine + " ÷ memory"}
	}
	fmt.Printf(floorFormat, head...)
	o.Result = func(r judge.Result) {
		o.Progress("")
		fmt.Printf(floorFormat, r.Name, r.Subscribers, r.Size, r.Burst, micros(r.Floor), micros(r.Ours), ratio(r))
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	if *engine == "" {
		return judge.Run(ctx, o, clients)
	}
	where, err := places("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(where.Dir)
	return judge.Engines(ctx, o, *engine, where)
}

const floorFormat = "%-16v %11v %6v %6v %9v %9v   %v\n"

func ratio(r judge.Result) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f, %d rounds)", r.Ratio, r.Least, r.Most, r.Rounds)
}

func micros(d time.Duration) string { return fmt.Sprintf("%.2f µs", float64(d)/1e3) }

// clients returns the command of the process that holds the clients.
func clients() *exec.Cmd { return exec.Command(self(), "serve", "clients") }

// self returns the name of this program's file.
func self() string {
	name, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return name
}

// status returns a function that shows one line in place of the last one, if w
// is a terminal.
func status(w *os.File) func(string) {
	info, err := w.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return func(s string) {
		if terminal {
			_, _ = io.WriteString(w, "\r\x1b[K"+s)
		}
	}
}

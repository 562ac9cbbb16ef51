package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/caddy-realtime/realtime/bench/engines"
)

func init() {
	commands["engines"] = runEngines
}

func runEngines(args []string) error {
	flags := flag.NewFlagSet("engines", flag.ExitOnError)
	o := engines.Options{Publishers: []int{1, 64}, Progress: status(os.Stderr)}
	flags.IntVar(&o.Rounds, "rounds", 7, "rounds of the comparison")
	flags.DurationVar(&o.Order.For, "for", 3*time.Second, "how long each engine is measured in a round")
	flags.IntVar(&o.Order.Rooms, "rooms", 1000, "in how many rooms is published")
	flags.IntVar(&o.Order.Size, "size", 200, "bytes of a message")
	limit := flags.Duration("time", 15*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	for _, name := range []string{engines.Memory, engines.Bolt, engines.BoltAlways} {
		o.Peers = append(o.Peers, engines.Peer{Name: name, Command: exec.Command(self(), "serve", "engine", name)})
	}
	where, err := places("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(where.Dir)
	if program, err := engines.BuildMercure(ctx, where.Cache); err != nil {
		fmt.Printf("without %s: %v\n", engines.Mercure, err)
	} else {
		o.Peers = append(o.Peers, engines.Peer{Name: engines.Mercure, Command: exec.Command(program)})
	}
	const row = "%10v  %-18s %12v %8v %10v %10v %11v %10v\n"
	fmt.Printf(row, "publishers", "", "a second", "÷ memory", "p50", "p99", "B written", "file")
	o.Result = func(r engines.Result) {
		o.Progress("")
		fmt.Printf(row, r.Publishers, r.Name, fmt.Sprintf("%.0f", r.Rate), fmt.Sprintf("%.3f", r.Ratio), micros(r.P50), micros(r.P99),
			fmt.Sprintf("%.0f", r.Written), fmt.Sprintf("%.1f MB", float64(r.Size)/1e6))
	}
	return engines.Run(ctx, o)
}

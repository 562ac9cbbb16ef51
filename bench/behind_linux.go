package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/caddy-realtime/realtime/bench/behind"
	"github.com/caddy-realtime/realtime/bench/peers"
)

func init() {
	commands["behind"] = runBehind
}

func runBehind(args []string) error {
	flags := flag.NewFlagSet("behind", flag.ExitOnError)
	o := behind.Options{Progress: status(os.Stderr)}
	engine := flags.String("engine", "bolt", "the engine")
	flags.IntVar(&o.Members, "members", 1000, "how many members have read everything; deliveries a second are that times the rate")
	flags.IntVar(&o.Behind, "behind", 10, "how many come back")
	flags.IntVar(&o.Messages, "messages", 10_000, "how many messages they are behind")
	flags.IntVar(&o.Rate, "rate", 50, "messages a second")
	flags.IntVar(&o.Size, "size", 200, "bytes of a message")
	flags.DurationVar(&o.Slot, "slot", 2*time.Second, "how long messages are published each time")
	flags.IntVar(&o.Rounds, "rounds", 9, "rounds, each without and with those behind")
	limit := flags.Duration("time", 10*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	where, err := places(fmt.Sprintf("engine %s\nhistory_memory off\nroom behind {\nhistory off off\n}", *engine))
	if err != nil {
		return err
	}
	defer os.RemoveAll(where.Dir)
	if o.Server, err = peers.Start(ctx, peers.Ours, where); err != nil {
		return err
	}
	defer o.Server.Stop()
	r, err := behind.Run(ctx, o)
	o.Progress("")
	if err != nil {
		return fmt.Errorf("%w\nthe server said: %s", err, o.Server.Said())
	}
	fmt.Printf("%s: %d members, %d messages a second; %d come back, %d messages behind, and have caught up after %s\n",
		*engine, o.Members, o.Rate, o.Behind, o.Messages, r.CaughtUp.Round(time.Millisecond))
	const row = "%-14s %12s %12s %12s\n"
	fmt.Printf(row, "the others", "p50", "p99", "longest")
	for _, l := range []struct {
		name string
		behind.Latency
	}{{"without them", r.Without}, {"with them", r.With}} {
		fmt.Printf(row, l.name, micros(l.P50), micros(l.P99), micros(l.Max))
	}
	fmt.Printf("p99 with ÷ without: %.2f (%.2f to %.2f, %d rounds)\n", r.Ratio, r.Least, r.Most, o.Rounds)
	return nil
}

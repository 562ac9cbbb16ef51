package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-realtime/realtime/bench/takeaway"
	"github.com/caddy-realtime/realtime/internal/freeport"
)

func runRights(args []string) error {
	flags := flag.NewFlagSet("rights", flag.ExitOnError)
	o := takeaway.Options{Publisher: http.Header{"X-Publisher": {"yes"}}}
	flags.IntVar(&o.Clients, "clients", 5000, "how many clients")
	flags.DurationVar(&o.Every, "every", 250*time.Millisecond, "time between two messages of a room")
	flags.DurationVar(&o.Before, "before", 3*time.Second, "how long messages flow before the reload")
	flags.DurationVar(&o.After, "after", 3*time.Second, "and after it")
	limit := flags.Duration("time", 3*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	result, err := takeRights(ctx, o)
	if err != nil {
		return err
	}
	at := func(part float64) time.Duration {
		return result.Took[int(part*float64(len(result.Took)-1))].Round(time.Millisecond)
	}
	fmt.Printf("the reload took %s; the %d subscriptions concerned ended %s (first), %s (half), %s (99 %%), %s (last) after it began\n",
		result.Reload.Round(time.Millisecond), result.Concerned, at(0), at(0.5), at(0.99), at(1))
	fmt.Printf("%d other clients saw all %d messages once and in order\n", result.Others, result.Messages)
	return nil
}

// takeRights runs a Caddy, and takes the right to subscribe to a room away by a reload.
func takeRights(ctx context.Context, o takeaway.Options) (r takeaway.Result, err error) {
	port, err := freeport.Get()
	if err != nil {
		return r, err
	}
	o.URL = fmt.Sprintf("http://127.0.0.1:%d/rt/", port)
	load := func(room string) error {
		caddyfile := fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nlog {\nlevel ERROR\n}\n}\n"+
			"http://127.0.0.1:%d {\n@publisher header X-Publisher yes\nrealtime {\nrate off\nmax_connections_per_address off\n%s\n}\n}\n", port, room)
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			return err
		}
		return caddy.Load(config, true)
	}
	if err := load("room kept {\nallow subscribe anyone\n}"); err != nil {
		return r, err
	}
	defer func() { _ = caddy.Stop() }()
	o.Reload = func() error { return load("room lost {\nallow subscribe @publisher\n}") }
	return takeaway.Run(ctx, o)
}

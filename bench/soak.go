package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-realtime/realtime"
	"github.com/caddy-realtime/realtime/bench/soak"
	"github.com/caddy-realtime/realtime/internal/freeport"
)

func runSoak(args []string) error {
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	o := soak.Options{}
	flags.IntVar(&o.Clients, "clients", 2000, "how many clients")
	flags.IntVar(&o.Messages, "messages", 5000, "how many messages")
	flags.IntVar(&o.Cuts, "cuts", 10, "how often each client is cut")
	flags.DurationVar(&o.Every, "every", 50*time.Millisecond, "time between two messages")
	limit := flags.Duration("time", 20*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	url, _, err := serveAt(o.Messages)
	if err != nil {
		return err
	}
	defer func() { _ = caddy.Stop() }()
	o.URL = url + "/rt/soak"
	o.Progress = func(p soak.Progress) {
		fmt.Printf("\r%d published, %d delivered, %d cuts, %d clients done ", p.Published, p.Delivered, p.Cuts, p.Done)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	begin := time.Now()
	p, err := soak.Run(ctx, o)
	o.Progress(p)
	fmt.Println()
	if err != nil {
		return err
	}
	fmt.Printf("%d clients saw %d messages each, once and in order, over %d cuts, in %s\n",
		o.Clients, o.Messages, p.Cuts, time.Since(begin).Round(time.Second))
	return nil
}

// serveAt runs a Caddy whose rooms keep this many messages. It returns its URL, and a
// function that restarts it with empty rooms.
func serveAt(messages int) (url string, restart func() error, err error) {
	port, err := freeport.Get()
	if err != nil {
		return "", nil, err
	}
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	caddyfile := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
}
%s {
	realtime {
		rate off
		max_connections_per_address off
		history_memory off
		room * {
			history %d
		}
	}
}
`, url, messages)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", nil, err
	}
	restart = func() error {
		if err := caddy.Stop(); err != nil {
			return err
		}
		return caddy.Load(config, true)
	}
	return url, restart, caddy.Load(config, true)
}

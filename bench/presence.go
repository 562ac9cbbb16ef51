package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/bench/presence"
)

func runPresence(args []string) error {
	flags := flag.NewFlagSet("presence", flag.ExitOnError)
	o := presence.Options{}
	flags.IntVar(&o.Members, "members", 5000, "how many members the room has")
	flags.DurationVar(&o.Quiet, "quiet", 3*time.Second, "how long frames are counted after all know the number")
	limit := flags.Duration("time", 5*time.Minute, "how long it may take")
	_ = flags.Parse(args) // exits on an error

	url, restart, err := serveAt(100)
	if err != nil {
		return err
	}
	defer func() { _ = caddy.Stop() }()
	o.URL = "ws" + url[len("http"):] + "/rt/"
	o.Restart = restart
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	first, again, err := presence.Run(ctx, o)
	if err != nil {
		return err
	}
	for _, r := range []struct {
		name string
		presence.Result
	}{{"all at once", first}, {"again, after a restart", again}} {
		fmt.Printf("%s: %d joined after %s, all know the number after %s; %d presence frames, %.1f a member, at most %d; %.1f KB a member\n",
			r.name, o.Members, r.Joined.Round(time.Millisecond), r.Settled.Round(time.Millisecond),
			r.Frames, float64(r.Frames)/float64(o.Members), r.Most, float64(r.Bytes)/float64(o.Members)/1e3)
	}
	return nil
}

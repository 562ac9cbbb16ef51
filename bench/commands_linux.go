package main

import (
	"errors"
	"os"
	"strconv"

	"github.com/caddy-realtime/realtime/bench/engines"
	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

func init() {
	commands["all"] = runAll
	commands["floor"] = runFloor
	commands["serve"] = serveChild
}

// serveChild is what our own child processes run.
func serveChild(args []string) error {
	if len(args) == 1 && args[0] == "clients" {
		return load.Serve(os.Stdin, os.Stdout)
	}
	if len(args) == 2 && args[0] == "engine" {
		return engines.Serve(args[1], os.Stdin, os.Stdout)
	}
	if len(args) != 2 {
		return errors.New("serve what, and on which port?")
	}
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "loop":
		return peers.ServeLoop(port)
	case "channels":
		return peers.ServeChannels(port)
	default:
		return errors.New("there is no " + args[0] + " to serve")
	}
}

// Command bench runs what is too large for the tests.
//
//	go run ./bench
//
// measures this module beside others: what a delivery costs, how many
// connections it holds, and how it bears too much. It needs Linux, takes up to
// 20 minutes (3 with -quick), and writes bench/RESULTS.md and pictures.
//
//	go run ./bench floor
//
// holds the hub against a bare loop of writes over the same sockets, in one
// process. This is the figure to look at while working on the code. With -engine bolt it holds
// that engine against the engine memory.
//
//	go run ./bench behind
//
// lets members of a room come back with a cursor 10,000 messages back, while messages are published by the
// clock, and prints how long the others wait for theirs, without and with those behind. It needs Linux.
//
//	go run ./bench soak
//
// starts a Caddy on a loopback port, and 2000 clients on mixed transports, each
// cut ten times while 5000 numbered messages are published. Every client must
// see every number once, in order; else it ends with status 1.
//
//	go run ./bench presence
//
// lets 5000 members join one room at once, restarts the server, lets them come
// back at once, and counts the presence frames that they are sent.
//
//	go run ./bench rights
//
// opens 5000 clients on all transports in two rooms, and takes the right to one room
// away by a reload while messages flow. It prints after what time the subscriptions
// ended; everybody else must see every message once, in order.
//
//	go run ./bench drain
//
// opens 5000 clients on all transports, in HTTP/1.1, 2 and 3, and reloads Caddy 20 times with other options
// while messages flow. Then it sends SIGTERM in the middle of a reload. Every client must see each
// message once and in order up to the last one that was acknowledged, and must be told to go in time, and no
// WebSocket and no HTTP/1.1 stream may end at a reload. It prints when clients were told to go, and
// what the server used before and after. It needs Linux.
//
//	go run ./bench engines
//
// compares how fast the engines take messages, what one message takes, and what they write to the disk,
// beside Mercure's transport on bbolt. It needs Linux.
//
//	go run ./bench kill
//
// starts a Caddy with the engine bolt, and kills it 50 times, at any moment, while clients on all transports read and
// others publish. Both come back. It prints what each transport got, reads every room from its beginning, and ends
// with status 1 if anything that was acknowledged is missing, or is there twice. It needs Linux.
//
// Flags change the numbers, see go run ./bench floor -h and the like.
package main

import (
	"fmt"
	"os"
	"strings"
)

// commands are what can be asked for; others are in commands_linux.go.
var commands = map[string]func(args []string) error{"presence": runPresence, "rights": runRights, "soak": runSoak}

func main() {
	name, args := "all", os.Args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	run, ok := commands[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: go run ./bench [all | behind | drain | engines | floor | kill | presence | rights | soak] [flags]")
		os.Exit(2)
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

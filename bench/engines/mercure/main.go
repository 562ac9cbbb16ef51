//go:build ignore

// Program mercure measures Mercure's transport that keeps its history in a bbolt database. It is built in a Go module
// of its own, which is made in a folder for what is downloaded.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dunglas/mercure"
	"go.uber.org/zap"

	"github.com/caddy-realtime/realtime/bench/engines/rate"
)

type store struct{ *mercure.BoltTransport }

// Publish implements [rate.Store].
func (s store) Publish(room string, data []byte) error {
	return s.Dispatch(&mercure.Update{Topics: []string{"https://example.com/" + room}, Event: mercure.Event{Data: string(data)}})
}

func main() {
	err := rate.Serve(func(dir string, rooms []string) (rate.Store, error) {
		// It bounds its history over all topics.
		t, err := mercure.NewBoltTransport(zap.NewNop(), filepath.Join(dir, "mercure.db"), "", uint64(100*len(rooms)), mercure.BoltDefaultCleanupFrequency)
		return store{t}, err
	}, os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

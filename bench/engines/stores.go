package engines

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caddy-realtime/realtime/bench/engines/rate"
	"github.com/caddy-realtime/realtime/engine/bolt"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Names of our engines.
const (
	Memory     = "memory"
	Bolt       = "bolt"
	BoltAlways = "bolt, sync always"
)

// Serve measures one of our engines, see [rate.Serve].
func Serve(name string, in io.Reader, out io.Writer) error {
	return rate.Serve(func(dir string, rooms []string) (rate.Store, error) {
		file := filepath.Join(dir, "rooms.db")
		options := bolt.Options{Sync: 100 * time.Millisecond, Size: 1 << 30} // the defaults
		switch name {
		case Memory:
			return newStore(hub.NewMemory(), rooms)
		case BoltAlways:
			options.Sync = 0
		case Bolt:
		default:
			return nil, fmt.Errorf("there is no engine %s", name)
		}
		e := bolt.New(file, options, slog.New(slog.DiscardHandler))
		if err := e.Open(context.Background()); err != nil {
			return nil, err
		}
		return newStore(e, rooms)
	}, in, out)
}

// store is an engine whose rooms have one reader each, and keep what rooms keep by default.
type store struct{ hub.Engine }

func newStore(e hub.Engine, rooms []string) (*store, error) {
	for _, room := range rooms {
		if _, _, err := e.Subscribe(context.Background(), room, reader{}); err != nil {
			return nil, err
		}
		e.Retain(room, settings.Defaults().History)
	}
	return &store{e}, nil
}

// Publish implements [rate.Store].
func (s *store) Publish(room string, data []byte) error {
	_, err := s.Engine.Publish(context.Background(), hub.Draft{Message: &hub.Message{Room: room, Data: data}})
	return err
}

// Close implements [rate.Store].
func (s *store) Close() error { return s.Engine.Close(context.Background()) }

// reader takes everything, and keeps nothing.
type reader struct{}

func (reader) Deliver(*hub.Message)              {}
func (reader) Reset(hub.Position, hub.GapReason) {}

package realtime

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
)

// exportBuffer is how much of an export is written at once, in bytes.
const exportBuffer = 64 << 10

// exportRequest is the query of GET /realtime/export.
type exportRequest struct {
	pattern string
	from    hub.Place
}

// wants reports whether the export has a room.
func (e *exportRequest) wants(room string) bool { return settings.Match(e.pattern, room) }

// exportOf reads the query.
func exportOf(r *http.Request) (e exportRequest, err error) {
	query := r.URL.Query()
	if e.pattern = query.Get("room"); e.pattern == "" {
		e.pattern = "*"
	}
	if err := settings.CheckPattern(e.pattern); err != nil {
		return e, err
	}
	e.from.Room = query.Get("after_room")
	after := query.Get("after")
	if (after == "") != (e.from.Room == "") {
		return e, errors.New("specify both after_room and after, or none of them")
	}
	if after != "" {
		if e.from.After, err = message.ParsePosition(after); err != nil {
			return e, fmt.Errorf("invalid after %q: %w", after, err)
		}
	}
	return e, nil
}

// serveExport serves GET /realtime/export.
func serveExport(w http.ResponseWriter, r *http.Request) error {
	asked, err := exportOf(r)
	if err != nil {
		return badRequest(err)
	}
	hubName := r.URL.Query().Get("hub")
	return operate(w, r, hubName, func(o *operation) error {
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := bufio.NewWriterSize(o, exportBuffer)
		var line []byte
		count := 0
		err := o.hub.Export(o.ctx, asked.from, asked.wants, func(m *hub.Message) error {
			count++
			line = protocol.AppendRecord(line[:0], m)
			_, err := out.Write(line)
			return err
		})
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return err
		}
		o.hub.Logger().Info("messages were exported", audited(r, "export", hubName, "rooms", asked.pattern, "messages", count)...)
		return nil
	})
}

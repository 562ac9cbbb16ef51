package realtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// The part of the admin API for hubs whose engine has a file.

// backuper is an engine that can write a copy of its file.
type backuper interface {
	Backup(ctx context.Context, w io.Writer) error
}

// compacter is an engine that can make its file smaller.
type compacter interface {
	Compact(ctx context.Context) (before, after int64, err error)
}

// errNoFile is the error for an engine that has none.
func (p *pooledHub) errNoFile() error {
	return fmt.Errorf("engine %s of hub %q has no file: caddy realtime export writes what it keeps: %w", p.kind, p.name, errors.ErrUnsupported)
}

// serveBackup serves GET /realtime/backup.
func serveBackup(w http.ResponseWriter, r *http.Request) error {
	hubName := r.URL.Query().Get("hub")
	return operate(w, r, hubName, func(o *operation) error {
		e, ok := o.engine.(backuper)
		if !ok {
			return o.errNoFile()
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := e.Backup(o.ctx, o); err != nil {
			return err
		}
		o.hub.Logger().Info("a file was copied", audited(r, "backup", hubName, "file", o.storage)...)
		return nil
	})
}

// compactRequest is the body of POST /realtime/compact.
type compactRequest struct {
	Hub string `json:"hub,omitempty"`
}

// compactAnswer is the answer to it, in bytes.
type compactAnswer struct {
	Before int64 `json:"before"`
	After  int64 `json:"after"`
}

// serveCompact serves POST /realtime/compact.
func serveCompact(w http.ResponseWriter, r *http.Request) error {
	var asked compactRequest
	if err := decodeBody(w, r, &asked); err != nil {
		return err
	}
	return operate(w, r, asked.Hub, func(o *operation) error {
		e, ok := o.engine.(compacter)
		if !ok {
			return o.errNoFile()
		}
		before, after, err := e.Compact(o.ctx)
		if err != nil {
			return err
		}
		o.hub.Logger().Info("a file was compacted", audited(r, "compaction", asked.Hub, "file", o.storage, "before", before, "after", after)...)
		return writeAdminJSON(w, compactAnswer{before, after})
	})
}

package realtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/protocol"
)

// importBytes is how many bytes of lines one transaction of an engine gets, unless one line has more. There are no
// more than [hub.MaxImport] lines.
const importBytes = 1 << 20

// importing is an import that is under way.
type importing struct {
	*operation

	lines    *bufio.Scanner
	number   int // of the last line that was read
	messages []*hub.Message
	numbers  []int // of the lines of the messages
	bytes    int
	done     hub.Imported
}

// serveImport serves POST /realtime/import.
func serveImport(w http.ResponseWriter, r *http.Request) error {
	hubName := r.URL.Query().Get("hub")
	return operate(w, r, hubName, func(o *operation) error {
		body := &operationReader{o, r.Body}
		i := &importing{operation: o, lines: bufio.NewScanner(body)}
		most := protocol.MaxRecord(o.hub.Settings().LargestMessage())
		i.lines.Buffer(nil, int(min(most, 1<<30)))
		err := i.run()
		if i.done != (hub.Imported{}) {
			attributes := audited(r, "import", hubName, "kept", i.done.Kept, "anew", i.done.Anew, "known", i.done.Known, "expired", i.done.Expired)
			o.hub.Logger().Info("messages were imported", attributes...)
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, body) // a client that still sends does not read the answer
			return err
		}
		return writeAdminJSON(w, i.done)
	})
}

// operationReader reads the body of a request that may be long.
type operationReader struct {
	*operation

	body io.Reader
}

// Read implements io.Reader.
func (r *operationReader) Read(b []byte) (int, error) {
	if err := r.control.SetReadDeadline(time.Now().Add(idleTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	if err := r.ended(); err != nil { // which may have set the deadline before
		return 0, err
	}
	return r.body.Read(b)
}

// run imports all lines. An error says what was done.
func (i *importing) run() error {
	for i.lines.Scan() {
		i.number++
		line := bytes.TrimSpace(i.lines.Bytes())
		if len(line) == 0 {
			continue
		}
		m, err := i.parse(line)
		if err != nil {
			if flushed := i.flush(); flushed != nil {
				return flushed
			}
			return i.failed(i.number, http.StatusBadRequest, err)
		}
		i.messages, i.numbers, i.bytes = append(i.messages, m), append(i.numbers, i.number), i.bytes+len(line)
		if len(i.messages) == hub.MaxImport || i.bytes >= importBytes {
			if err := i.flush(); err != nil {
				return err
			}
		}
	}
	if err := i.flush(); err != nil {
		return err
	}
	switch err := i.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return i.failed(i.number+1, http.StatusBadRequest, errors.New("it is longer than any message of the hub may be: raise max_message_size"))
	case err != nil:
		return i.failed(i.number+1, http.StatusBadRequest, fmt.Errorf("reading it: %w", err))
	}
	return nil
}

// parse reads a line.
func (i *importing) parse(line []byte) (*hub.Message, error) {
	m, err := protocol.ParseRecord(line)
	if err != nil {
		return nil, err
	}
	if most := i.hub.MaxMessageSize(m.Room); len(m.Data) > most {
		return nil, fmt.Errorf("the message has %d bytes, and max_message_size of room %q is %d: raise it", len(m.Data), m.Room, most)
	}
	return m, nil
}

// flush imports what was read.
func (i *importing) flush() error {
	if len(i.messages) == 0 {
		return nil
	}
	done, failed, err := i.hub.Import(i.ctx, i.messages)
	i.done.Add(done)
	if err != nil {
		return i.failed(i.numbers[max(failed, 0)], statusOf(i.ctx, err), err)
	}
	i.messages, i.numbers, i.bytes = i.messages[:0], i.numbers[:0], 0
	return nil
}

// failed returns the error of a line.
func (i *importing) failed(line, status int, err error) error {
	if errors.Is(err, limit.ErrFull) {
		status = http.StatusServiceUnavailable
	}
	if ended := i.ended(); ended != nil {
		status, err = http.StatusServiceUnavailable, ended
	}
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(
		"line %d: %w; before that, %d messages were kept, %d published anew, %d known, %d expired",
		line, err, i.done.Kept, i.done.Anew, i.done.Known, i.done.Expired)}
}

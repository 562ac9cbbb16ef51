package realtime

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
	"github.com/caddy-realtime/realtime/ws"
)

// serve serves what lies below the prefix. An error has not been answered yet.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, rest string) error {
	header := w.Header()
	header.Add("Vary", "Accept, Origin, Prefer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store, no-transform")
	anyOrigin, err := h.admitOrigin(w, r)
	if err != nil {
		return err
	}
	want, err := negotiate(r, h.Subprotocols)
	if err != nil {
		return err
	}
	if want.way == wayPreflight {
		preflight(w, r)
		return nil
	}
	room, err := roomName(r, rest)
	if err != nil {
		return err
	}
	client := identify(r)
	if anyOrigin {
		// Any page may have sent this with its visitor's cookies: it does not
		// speak for him.
		client.User = nil
	}
	switch want.way {
	case wayPublish, wayForm:
		return h.publish(w, r, client, room, want.way == wayForm)
	case wayHead:
		return h.head(w, r, client, room)
	case wayPage:
		return h.page(w, r, client, room, want)
	case wayWebSocket:
		return h.webSocket(w, r, client, room, want)
	default:
		return h.stream(w, r, client, room, want)
	}
}

// roomName returns the room that a request is about: the path's rest, or the
// one that the query of the hub's own URL names.
func roomName(r *http.Request, rest string) (string, error) {
	if strings.HasPrefix(rest, "-/") || rest == "-" {
		return "", &protocol.Problem{Status: http.StatusNotFound, Title: "not found", Detail: "nothing is here"}
	}
	if rest == "" {
		rooms := r.URL.Query()["room"]
		switch len(rooms) {
		case 0:
			return "", protocol.Bad("which room? It is the rest of the path, as in %slobby", r.URL.Path)
		case 1:
			rest = rooms[0]
		default:
			return "", &protocol.Problem{
				Status: http.StatusNotImplemented, Title: "not implemented",
				Detail: "this version serves one room on a connection",
			}
		}
	}
	if err := hub.CheckRoomName(rest); err != nil {
		return "", err
	}
	return strings.Clone(rest), nil
}

// start returns where a stream begins.
func (w *want) start() hub.Start {
	return hub.Start{Foreign: w.foreign, After: w.after, Last: w.last, Age: w.age}
}

func (h *Handler) webSocket(w http.ResponseWriter, r *http.Request, c hub.Client, room string, want want) error {
	if err := ws.CheckHandshake(r, w.Header()); err != nil {
		return err
	}
	c.NoEcho = want.noEcho
	return ws.Serve(w, r, ws.Options{
		Hub: h.pooled.hub, Group: &h.pooled.conns, Lot: h.lot, Client: c, Room: room, Start: want.start(),
		Envelope: want.envelope, Compression: h.Compression, Subprotocol: want.subprotocol, Heartbeat: h.heartbeat(),
	})
}

func (h *Handler) stream(w http.ResponseWriter, r *http.Request, c hub.Client, room string, want want) error {
	liftWriteTimeout(r)
	var format sse.Format = sse.Events{Envelope: want.envelope}
	if want.way == wayLines {
		format = sse.Lines{}
	}
	return sse.Serve(w, r, sse.Options{
		Hub: h.pooled.hub, Group: &h.pooled.conns, Lot: h.lot, Log: h.log, Client: c, Room: room, Start: want.start(),
		Format: format, Heartbeat: h.heartbeat(), Down: h.down,
	})
}

func (h *Handler) page(w http.ResponseWriter, r *http.Request, c hub.Client, room string, want want) error {
	q := hub.Query{
		Foreign: want.foreign, After: want.after, Before: want.before,
		Last: want.last, Age: want.age, Limit: want.limit,
	}
	if want.wait > 0 && q.Before.IsZero() {
		liftWriteTimeout(r)
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(want.wait.Seconds())))
	} else if !q.Foreign && q.After.IsZero() && q.Before.IsZero() && q.Last == 0 && q.Age == 0 {
		q.Last = q.Limit
	}
	if q.Last > 0 {
		q.Limit = min(q.Last, maxLimit)
	}
	return poll.Serve(w, r, poll.Options{
		Hub: h.pooled.hub, Client: c, Room: room, Query: q, Wait: want.wait,
		Conditional: want.conditional, Down: h.down,
	})
}

// head answers with the room's state, or with the status that a connection
// would be refused with: a script sees nothing of a refused WebSocket but 1006,
// and asks here.
func (h *Handler) head(w http.ResponseWriter, r *http.Request, c hub.Client, room string) error {
	if err := h.pooled.hub.Admits(c); err != nil {
		return err
	}
	page, err := h.pooled.hub.Read(r.Context(), room, hub.Query{})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+page.Cursor.String()+`"`)
	w.Header().Set("Realtime-Members", strconv.Itoa(h.pooled.hub.Members(room)))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return nil
}

// bodyTime bounds how long a body may take to arrive.
const bodyTime = 60 * time.Second

// publish takes a POST.
func (h *Handler) publish(w http.ResponseWriter, r *http.Request, c hub.Client, room string, form bool) error {
	if form {
		if err := h.formProtection(r); err != nil {
			return err
		}
	}
	p, err := publication(r, room)
	if err != nil {
		return err
	}
	limit := int64(h.pooled.hub.MaxMessageSize(room))
	if form {
		limit = min(limit, math.MaxInt64/4)*3 + 1024 // percent-encoding may triple it
	}
	body, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	contentType := r.Header.Get("Content-Type")
	if form {
		fields, err := url.ParseQuery(string(body))
		if err != nil {
			return protocol.Bad("the form cannot be read: %v", err)
		}
		if !fields.Has("text") {
			return protocol.Bad("the form has no field text")
		}
		body, contentType = []byte(fields.Get("text")), "text/plain"
	}
	if p.Kind, p.Data, err = protocol.Content(contentType, body); err != nil {
		return err
	}
	p.Type = contentType
	receipt, err := h.pooled.hub.Publish(r.Context(), c, p)
	if err != nil {
		return err
	}
	if form {
		back(w, r)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusCreated
	if p.Signal {
		status = http.StatusAccepted
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(protocol.Receipt(receipt), '\n')) // whoever has gone does not need it
	return nil
}

// publication reads the options of a POST: standard headers, or query
// parameters for clients that cannot send headers.
func publication(r *http.Request, room string) (hub.Publication, error) {
	option := func(header, parameter string) string {
		if v := r.Header.Get(header); v != "" {
			return v
		}
		return r.URL.Query().Get(parameter)
	}
	p := hub.Publication{Room: room, Event: option("Realtime-Event", "event")}
	// The header is a string of RFC 9651, but many send it bare.
	p.Key = strings.Clone(strings.Trim(option("Idempotency-Key", "key"), `"`))
	if p.Event == protocol.DefaultEvent {
		p.Event = ""
	}
	p.Event = strings.Clone(p.Event)
	if ttl := option("Ttl", "ttl"); ttl != "" {
		if !isSeconds(ttl) { // RFC 8030, section 5.2
			return p, protocol.Bad("TTL %q: must be a number of seconds", ttl)
		}
		n, _ := strconv.Atoi(ttl)
		p.TTL, p.Signal = time.Duration(n)*time.Second, n == 0
	}
	return p, nil
}

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// A server that cannot set deadlines has its own.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	if limit >= math.MaxInt64-1 {
		limit = math.MaxInt64 - 1
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &tooLarge):
		return nil, &protocol.Problem{
			Status: http.StatusRequestEntityTooLarge, Title: "message too large",
			Detail: "max_message_size is " + strconv.FormatInt(limit, 10),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &protocol.Problem{
			Status: http.StatusRequestTimeout, Title: "request timeout",
			Detail: "the body took longer than " + bodyTime.String(), Err: err,
		}
	default:
		return nil, &protocol.Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "the body broke off", Err: err}
	}
}

// back sends the browser back to the page of its form, if that is ours, or
// leaves it where it is.
func back(w http.ResponseWriter, r *http.Request) {
	referer, err := url.Parse(r.Referer())
	if err != nil || !strings.EqualFold(referer.Host, r.Host) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", referer.RequestURI())
	w.WriteHeader(http.StatusSeeOther)
}

// heartbeat returns the time between signs of life; 0: none.
func (h *Handler) heartbeat() time.Duration { return max(time.Duration(h.Heartbeat), 0) }

// liftWriteTimeout takes a configured write timeout off one response: it is
// meant for answers that end. Each write has its own bound.
func liftWriteTimeout(r *http.Request) {
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
	}
}

// refuse answers with what went wrong. Where the site has error routes they
// decide how it looks; otherwise it is a problem document (RFC 9457).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	p := protocol.ProblemOf(err)
	if p.Status == http.StatusInternalServerError {
		h.log.Error("serving a room", "error", err)
	}
	header := w.Header()
	if p.Status == http.StatusMethodNotAllowed {
		header.Set("Allow", allowedMethods)
	}
	retry := p.RetryAfter > 0
	if retry {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	if retry && p.Status != http.StatusForbidden && r.Method == http.MethodGet {
		// Any status but 200 would end an EventSource for good.
		if way, err := chooseWay(r); err == nil && way == wayEvents {
			sse.Head(w, sse.Events{}.ContentType())
			_, _ = w.Write(sse.Bye(nil, p.Status, p.RetryAfter))
			return nil
		}
	}
	if h.server != nil && h.server.Errors != nil && len(h.server.Errors.Routes) > 0 {
		return caddyhttp.Error(p.Status, p)
	}
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.JSON())
	}
	return nil
}

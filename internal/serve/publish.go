package serve

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// publish publishes the body of a POST.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, c hub.Client, room string, form bool) error {
	if form {
		if err := s.formProtection(r); err != nil {
			return err
		}
	}
	p, err := publication(r, room)
	if err != nil {
		return err
	}
	verb := hub.VerbPublish
	if p.Signal {
		verb = hub.VerbSignal
	}
	if err := s.Hub.Caller(c).May(verb, room); err != nil {
		return err // before the body is read
	}
	limit := int64(s.Hub.MaxMessageSize(room))
	detail := fmt.Sprintf("max_message_size is %d", limit)
	fields := form || isFormData(r.Header)
	if fields {
		limit = min(limit, math.MaxInt64/4)*3 + maxFormRest // percent-encoding may triple it
	}
	body, err := readBody(w, r, limit, detail)
	if err != nil {
		return err
	}
	contentType := r.Header.Get("Content-Type")
	if fields {
		fields, err := formFields(contentType, body)
		if err != nil {
			return err
		}
		if contentType, body, err = formContent(fields); err != nil {
			return err
		}
	}
	if p.Kind, p.Data, err = protocol.Content(contentType, body); err != nil {
		return err
	}
	p.Type = contentType
	receipt, err := s.Hub.Caller(c).Publish(r.Context(), p)
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
	_, _ = w.Write(append(protocol.Receipt(receipt), '\n')) // the client may have gone
	return nil
}

// publication parses the options of a POST: standard headers, or query parameters from
// clients that cannot send headers.
func publication(r *http.Request, room string) (hub.Publication, error) {
	query := queryOf(r)
	option := func(header, parameter string) string {
		if v := r.Header.Get(header); v != "" {
			return v
		}
		return query.Get(parameter)
	}
	p := hub.Publication{Room: room, Event: option("Realtime-Event", "event")}
	// The header is a string in the sense of RFC 9651, but many clients send it bare.
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

package sse

import (
	"bytes"
	"net/http"
	"reflect"

	"github.com/caddy-realtime/realtime/protocol"
)

// witness stands directly above the server's own writer, below all that others
// have wrapped around it, and sees what of a stream's head and opening comes
// through. Handlers may hold a response back, compress it or replace it, and say
// nothing: a flush that succeeds proves nothing.
type witness struct {
	http.ResponseWriter // the server's own
	direct              bool
	most                int // bytes that it remembers
	status              int
	header              http.Header // as it was written
	body                []byte
}

// watch puts a witness in its place for one response, which begins with an opening
// of so many bytes.
func watch(w http.ResponseWriter, most int) *witness {
	s := &witness{ResponseWriter: w, most: most + 1}
	var last http.ResponseWriter // the innermost wrapper
	for {
		u, ok := s.ResponseWriter.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		last, s.ResponseWriter = s.ResponseWriter, u.Unwrap()
	}
	if last == nil {
		s.direct = true // nobody is in between
		return s
	}
	// Every wrapper of Caddy's embeds the writer below it in a field of this name.
	at := reflect.ValueOf(last)
	if at.Kind() != reflect.Pointer || at.Elem().Kind() != reflect.Struct {
		return nil
	}
	field := at.Elem().FieldByName("ResponseWriter")
	if !field.IsValid() || !field.CanSet() || !reflect.TypeOf(s).AssignableTo(field.Type()) {
		return nil
	}
	field.Set(reflect.ValueOf(s))
	return s
}

// unchanged reports whether the head and the opening have come through as they
// were written, so that whatever follows may be written below all wrappers. A
// nil witness has seen nothing.
func (s *witness) unchanged(opening []byte) bool {
	switch {
	case s == nil:
		return false
	case s.direct:
		return true
	}
	return s.status == http.StatusOK && s.header.Get("Content-Encoding") == "" && s.header.Get("Content-Length") == "" &&
		bytes.Equal(s.body, opening)
}

// held reports whether a wrapper holds the response back, as those do that replace
// it as a whole.
func (s *witness) held() bool { return s != nil && !s.direct && s.status == 0 && len(s.body) == 0 }

// Unwrap is for [http.ResponseController].
func (s *witness) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (s *witness) WriteHeader(status int) {
	if s.status == 0 && status >= http.StatusOK {
		s.status, s.header = status, s.Header().Clone()
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (s *witness) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status, s.header = http.StatusOK, s.Header().Clone()
	}
	if room := s.most - len(s.body); room > 0 {
		s.body = append(s.body, p[:min(room, len(p))]...)
	}
	return s.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (s *witness) FlushError() error { return http.NewResponseController(s.ResponseWriter).Flush() }

// mayLeave returns the server's own writer if a response can go on without
// net/http: HTTP/1.1, for its chunks, and a request without a body.
func mayLeave(w http.ResponseWriter, r *http.Request) (http.Hijacker, bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 {
		return nil, false
	}
	h, ok := protocol.Innermost(w).(http.Hijacker)
	return h, ok
}

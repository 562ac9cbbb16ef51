package protocol

import (
	"bytes"
	"net/http"
	"reflect"
)

// Spy is a ResponseWriter between net/http's own and all its wrappers. It sees which
// part of a response reaches net/http. Handlers may hold a response back until they
// return, compress it or change its head, and a Flush succeeds all the same.
//
// [Plant] puts one in place. After the first bytes have been written and flushed,
// [Spy.Unchanged] or [Spy.Status] says what has come through. [Spy.Leave] removes it;
// [Spy.Deafen] keeps it, to shield a connection that has left net/http. It must not be
// used concurrently.
type Spy struct {
	http.ResponseWriter // net/http's own

	// Before, if set, is called before a head goes out. It may change the headers.
	Before func(http.Header)

	expected []byte        // the part of the body that has not come yet
	status   int           // of the head that came; 0: none yet
	changed  bool          // head or body are not as expected
	deaf     bool          // drop everything that comes
	field    reflect.Value // of the innermost wrapper, that holds this; invalid: no wrapper
}

// Plant puts a Spy below w, which expects a body to begin with the given bytes. Write
// to the returned writer from then on: its bytes pass through all wrappers of w. If a
// Spy cannot be placed, it returns w and nil. Nothing may have been written yet.
func Plant(w http.ResponseWriter, expected []byte) (http.ResponseWriter, *Spy) {
	s := &Spy{ResponseWriter: w, expected: expected}
	var last http.ResponseWriter // the innermost wrapper
	for {
		u, ok := s.ResponseWriter.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		last, s.ResponseWriter = s.ResponseWriter, u.Unwrap()
	}
	if last == nil {
		return s, s
	}
	var ok bool
	if s.field, ok = place(last, s.ResponseWriter); !ok {
		return w, nil
	}
	s.field.Set(reflect.ValueOf(s))
	return w, s
}

// place returns the field in which a wrapper keeps the writer that it wraps. Usually
// that is embedded, as in Caddy's ResponseWriterWrapper.
func place(wrapper, wrapped http.ResponseWriter) (field reflect.Value, ok bool) {
	v, inner := reflect.ValueOf(wrapper), reflect.ValueOf(wrapped)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || inner.Kind() != reflect.Pointer {
		return field, false
	}
	at, ok := v.Elem().Type().FieldByName("ResponseWriter")
	if !ok {
		return field, false
	}
	field, err := v.Elem().FieldByIndexErr(at.Index)
	ok = err == nil && field.CanSet() && field.Kind() == reflect.Interface && reflect.TypeFor[*Spy]().AssignableTo(field.Type())
	return field, ok && field.Elem().Kind() == reflect.Pointer && field.Elem().Pointer() == inner.Pointer()
}

// Leave undoes Plant: what is written from now on does not pass the Spy.
func (s *Spy) Leave() {
	if s.field.IsValid() {
		s.field.Set(reflect.ValueOf(s.ResponseWriter))
	}
}

// Deafen drops everything that comes through the chain from now on: the connection
// has left net/http.
func (s *Spy) Deafen() { s.deaf = true }

// Status returns the status of the head that came, or 0 if none came.
func (s *Spy) Status() int { return s.status }

// Unchanged reports whether a head with status 200 has come, without a coding or a
// length, and then exactly the expected body.
func (s *Spy) Unchanged() bool {
	return s.status == http.StatusOK && !s.changed && len(s.expected) == 0
}

// WriteHeader implements [http.ResponseWriter].
func (s *Spy) WriteHeader(status int) {
	if s.deaf {
		return
	}
	if s.Before != nil {
		s.Before(s.Header())
	}
	if s.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		s.status = status
		for _, name := range []string{"Content-Encoding", "Content-Length", "Transfer-Encoding"} {
			s.changed = s.changed || s.Header().Get(name) != ""
		}
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (s *Spy) Write(p []byte) (int, error) {
	if s.deaf {
		return len(p), nil
	}
	if s.status == 0 {
		s.WriteHeader(http.StatusOK)
	}
	var ok bool
	if s.expected, ok = bytes.CutPrefix(s.expected, p); !ok {
		s.changed = true
	}
	return s.ResponseWriter.Write(p)
}

// FlushError is for [http.ResponseController].
func (s *Spy) FlushError() error {
	if s.deaf {
		return nil
	}
	if s.status == 0 {
		s.WriteHeader(http.StatusOK) // as net/http does
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Push implements [http.Pusher].
func (s *Spy) Push(target string, opts *http.PushOptions) error {
	if p, ok := s.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap is for [http.ResponseController].
func (s *Spy) Unwrap() http.ResponseWriter { return s.ResponseWriter }

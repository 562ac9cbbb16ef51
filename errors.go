package realtime

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/protocol"
)

// documents is the handler of an error route that is put before the others. Those may
// be another site's, or for other statuses; if none matches, Caddy answers with an
// empty body. So documents runs the others, and writes the problem document if none of
// them writes a body. Errors of other modules pass.
type documents struct{ log *slog.Logger }

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (d *documents) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var p *protocol.Problem
	if err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error); !errors.As(err, &p) {
		return next.ServeHTTP(w, r)
	}
	late := newLateWriter(w)
	w.Header().Del("Content-Type") // of the response that failed
	w.Header().Del("Content-Length")
	err := next.ServeHTTP(late, r)
	switch {
	case late.begun:
		return err
	case err != nil:
		d.log.Error("an error route failed", "error", err)
	case late.answers(r):
		late.begin()
		return nil
	}
	answer := *p
	if late.status != 0 {
		answer.Status = late.status
	}
	writeProblem(w, r, &answer)
	return nil
}

// lateWriter holds the status back until a body follows, so that another answer can
// still be written if there is no body.
type lateWriter struct {
	*caddyhttp.ResponseWriterWrapper
	status int  // 0: none
	begun  bool // the status was written, and a part of the body
}

func newLateWriter(w http.ResponseWriter) *lateWriter {
	return &lateWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
}

// answers reports whether the status that was held back is a complete answer: it needs
// no body, or the request is a HEAD.
func (l *lateWriter) answers(r *http.Request) bool {
	if l.status == 0 {
		return false
	}
	header := l.Header()
	return l.status < http.StatusBadRequest || header.Get("Content-Length") != "" || header.Get("Location") != "" ||
		r.Method == http.MethodHead && header.Get("Content-Type") != ""
}

// WriteHeader implements [http.ResponseWriter].
func (l *lateWriter) WriteHeader(status int) {
	switch {
	case l.begun || status < http.StatusOK:
		l.ResponseWriterWrapper.WriteHeader(status)
	case l.status == 0:
		l.status = status
	}
}

// begin writes the status.
func (l *lateWriter) begin() {
	if l.begun {
		return
	}
	l.begun = true
	if l.status != 0 {
		l.ResponseWriterWrapper.WriteHeader(l.status)
	}
}

// Write implements [http.ResponseWriter].
func (l *lateWriter) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.begin()
	}
	return l.ResponseWriterWrapper.Write(b)
}

// ReadFrom implements [io.ReaderFrom]. Until the first byte it goes through Write.
func (l *lateWriter) ReadFrom(r io.Reader) (int64, error) {
	if l.begun {
		return l.ResponseWriterWrapper.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{l}, r)
}

// FlushError is found by [http.ResponseController].
func (l *lateWriter) FlushError() error {
	l.begin()
	return http.NewResponseController(l.ResponseWriter).Flush()
}

// Hijack is found by [http.ResponseController].
func (l *lateWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(l.ResponseWriter).Hijack()
	l.begun = l.begun || err == nil
	return conn, rw, err
}

// documentErrors puts [documents] before the error routes of the server and of the
// subroutes around this handler. Caddy provisions error routes after the handlers,
// except for handlers in named routes and in error routes.
func (h *Handler) documentErrors(ctx caddy.Context) {
	if h.srv != nil && h.srv.Errors != nil {
		h.documentRoutes(h.srv.Errors, h.srv.Routes)
	}
	for _, m := range ctx.Modules() {
		if s, ok := m.(*caddyhttp.Subroute); ok && s.Errors != nil {
			h.documentRoutes(s.Errors, s.Routes)
		}
	}
}

// documentRoutes does so for the error routes of one list of routes, if that is still
// being provisioned. Otherwise it is too late.
func (h *Handler) documentRoutes(of *caddyhttp.HTTPErrorConfig, routes caddyhttp.RouteList) {
	if len(of.Routes) == 0 {
		return
	}
	h.errors = append(h.errors, of)
	if handlers := of.Routes[0].Handlers; len(handlers) > 0 {
		if _, ours := handlers[0].(*documents); ours {
			return
		}
	}
	if holder(routes) < 0 {
		h.late = of
		return
	}
	first := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&documents{h.log}}}
	of.Routes = append(caddyhttp.RouteList{first}, of.Routes...)
}

// refuse answers an error. If the site has error routes they decide how it looks;
// otherwise it is a problem document (RFC 9457).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	if other, ok := errors.AsType[caddyhttp.HandlerError](err); ok && other.StatusCode >= 400 {
		// It was found while the body was read.
		err = &protocol.Problem{Status: other.StatusCode, Title: "body refused", Detail: "another handler of the site refused the body", Err: err}
	}
	p := h.server.Refuse(w, r, err)
	if p == nil {
		return nil // it has been answered
	}
	if raised, err := h.raise(w, r, p); raised {
		return err
	}
	writeProblem(w, r, p)
	return nil
}

// raise passes a problem to the error routes, if there are any, and unless they are
// serving an error already.
func (h *Handler) raise(w http.ResponseWriter, r *http.Request, p *protocol.Problem) (raised bool, err error) {
	switch {
	case len(h.errors) == 0, r.Context().Value(caddyhttp.ErrorCtxKey) != nil:
		return false, nil
	case h.late == nil:
		return true, caddyhttp.Error(p.Status, p)
	}
	r = h.late.WithError(r, caddyhttp.Error(p.Status, p))
	nobody := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	return true, (&documents{h.log}).ServeHTTP(w, r, h.late.Routes.Compile(nobody))
}

func writeProblem(w http.ResponseWriter, r *http.Request, p *protocol.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.JSON())
	}
}

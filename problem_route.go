package realtime

import (
	"errors"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/protocol"
)

// problemRoute is the first of a server's error routes. The routes after it, the
// site's own handle_errors, decide how an error looks; where none of them has a
// body for it, it is a problem document (RFC 9457). To ask the routes beforehand
// would be a guess: they are a server's, so those of one site would speak for all,
// and one that takes an error may fail.
type problemRoute struct{}

// addProblemRoute puts a problemRoute before the error routes of the server, once.
// It is for Provision, which comes before these are provisioned.
func addProblemRoute(srv *caddyhttp.Server) {
	if srv.Errors == nil || len(srv.Errors.Routes) == 0 {
		return // refuse writes the document
	}
	if first := srv.Errors.Routes[0].Handlers; len(first) == 1 && first[0] == (problemRoute{}) {
		return
	}
	ours := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{problemRoute{}}}
	srv.Errors.Routes = append(caddyhttp.RouteList{ours}, srv.Errors.Routes...)
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (problemRoute) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var p *protocol.Problem
	if err, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error); !errors.As(err, &p) {
		return next.ServeHTTP(w, r)
	}
	l := &lateHead{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	if err := next.ServeHTTP(l, r); l.wrote {
		return err
	}
	status := l.status
	if status == 0 {
		status = p.Status // the error route failed itself
	}
	if r.Method == http.MethodHead && l.status != 0 && w.Header().Get("Content-Type") != "" {
		w.WriteHeader(status) // a body would have followed
		return nil
	}
	writeProblem(w, r, status, p)
	return nil
}

// writeProblem writes the problem document.
func writeProblem(w http.ResponseWriter, r *http.Request, status int, p *protocol.Problem) {
	header := w.Header()
	header.Del("Content-Length")
	header.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.JSON()) // whoever has gone does not need it
	}
}

// lateHead holds a response's status back until there is a body.
type lateHead struct {
	*caddyhttp.ResponseWriterWrapper
	status int
	wrote  bool
}

// WriteHeader implements [http.ResponseWriter].
func (l *lateHead) WriteHeader(status int) {
	switch {
	case status < http.StatusOK:
		l.ResponseWriterWrapper.WriteHeader(status)
	case l.status == 0:
		l.status = status
	}
}

// Write implements [http.ResponseWriter].
func (l *lateHead) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !l.wrote {
		l.wrote = true
		if l.status == 0 {
			l.status = http.StatusOK
		}
		l.ResponseWriterWrapper.WriteHeader(l.status)
	}
	return l.ResponseWriterWrapper.Write(p)
}

// ReadFrom implements [io.ReaderFrom] by Write.
func (l *lateHead) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{l}, r)
}

// FlushError is for [http.ResponseController]: nothing is flushed before there is a
// body.
func (l *lateHead) FlushError() error {
	if !l.wrote {
		return nil
	}
	return http.NewResponseController(l.ResponseWriter).Flush()
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = problemRoute{}
	_ io.ReaderFrom               = (*lateHead)(nil)
)

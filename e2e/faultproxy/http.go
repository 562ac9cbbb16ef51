package faultproxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"
)

// killAfter is how long a socket lives under UpgradeKilled.
const killAfter = 20 * time.Millisecond

// serveHTTP answers one request after the other until the connection ends.
func (l *link) serveHTTP() {
	in := bufio.NewReader(l.fromClient())
	for l.exchange(in) {
	}
}

// exchange forwards one request and its response and says whether another may
// follow on this connection.
func (l *link) exchange(in *bufio.Reader) (again bool) {
	req, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	if l.proxy.breaks(req.URL.Path) {
		l.close(RST)
		return false
	}
	mode := UpgradePass
	if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		mode = l.proxy.countUpgrade()
	}
	if mode == UpgradeRefused {
		return l.answer(req, http.StatusForbidden)
	}
	backend, err := l.dial()
	if err != nil {
		return l.answer(req, http.StatusBadGateway)
	}
	defer backend.Close()
	sent := l.sendRequest(backend, req)

	// The request is read to its end, so the next byte from the client is its
	// next request, or its end: then nobody wants the response any more.
	gone := make(chan error, 1)
	l.proxy.joined.Go(func() {
		_, err := in.Peek(1)
		if err != nil {
			l.close(ending(err))
		}
		gone <- err
	})
	back := bufio.NewReader(backend)
	resp, err := readResponse(back, req)
	switch {
	case err != nil:
		l.close(ending(err))
	case resp.StatusCode == http.StatusSwitchingProtocols:
		l.writeHead(resp)
		l.tunnel(mode, in, gone, back, backend)
		return false
	default:
		again = l.sendResponse(resp) && sent == nil && !req.Close
	}
	if !again {
		l.close(FIN)
	}
	return <-gone == nil && again
}

// answer is the proxy's own, and the last one on this connection.
func (l *link) answer(req *http.Request, status int) (again bool) {
	io.Copy(io.Discard, req.Body)
	fmt.Fprintf(l.toClient(), "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		status, http.StatusText(status))
	return false
}

// sendRequest writes req as it came, except that the proxy itself answers
// "Expect: 100-continue", which it must to get hold of the body.
func (l *link) sendRequest(backend net.Conn, req *http.Request) error {
	if strings.EqualFold(req.Header.Get("Expect"), "100-continue") {
		req.Header.Del("Expect")
		io.WriteString(l.toClient(), "HTTP/1.1 100 Continue\r\n\r\n")
	}
	w := bufio.NewWriter(backend)
	fmt.Fprintf(w, "%s %s %s\r\nHost: %s\r\n", req.Method, req.RequestURI, req.Proto, req.Host)
	writeHeader(w, req.Header, req.TransferEncoding)
	return copyBody(w, req.Body, req.TransferEncoding, 0)
}

// readResponse skips what only announces the response (RFC 9110, section 15.2).
func readResponse(back *bufio.Reader, req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(back, req)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}

// sendResponse forwards resp, held back where the proxy buffers, and says
// whether the client can tell where it ended.
func (l *link) sendResponse(resp *http.Response) bool {
	hold, block := l.proxy.holding()
	if hold == HoldNothing {
		block = 0
	}
	var first bytes.Buffer
	var held error
	if hold == HoldAll {
		_, held = io.CopyN(&first, resp.Body, int64(block))
	}
	l.writeHead(resp)
	if resp.Body == http.NoBody {
		return !resp.Close // even if its header announces a body, as with HEAD
	}
	w := bufio.NewWriter(l.toClient())
	err := copyBody(w, io.MultiReader(&first, errReader{held}, resp.Body), resp.TransferEncoding, block)
	if err != nil {
		l.close(ending(err))
	}
	return err == nil && !resp.Close
}

func (l *link) writeHead(resp *http.Response) {
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s\r\n", resp.Proto, resp.Status)
	writeHeader(&head, resp.Header, resp.TransferEncoding)
	l.toClient().Write(head.Bytes()) // what fails here fails for the body too
}

func writeHeader(w io.Writer, header http.Header, encoding []string) {
	header.Write(w)
	if len(encoding) > 0 {
		fmt.Fprintf(w, "Transfer-Encoding: %s\r\n", strings.Join(encoding, ", "))
	}
	io.WriteString(w, "\r\n")
}

// copyBody writes what body gives as it comes, or in blocks of that many bytes,
// chunked where encoding says so.
func copyBody(w *bufio.Writer, body io.Reader, encoding []string, block int) error {
	var dst io.WriteCloser = nopCloser{w}
	if len(encoding) > 0 {
		dst = httputil.NewChunkedWriter(w)
	}
	least, buf := 1, make([]byte, 32<<10)
	if block > 0 {
		least, buf = block, make([]byte, block)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for {
		n, err := readAtLeast(body, buf, least)
		if n > 0 {
			dst.Write(buf[:n])
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	dst.Close()
	if len(encoding) > 0 {
		w.WriteString("\r\n") // no trailers
	}
	return w.Flush()
}

// readAtLeast is io.ReadAtLeast, except that it returns the reader's own error: a body
// that ended and a body that broke off must not look the same.
func readAtLeast(r io.Reader, b []byte, least int) (n int, err error) {
	for n < least && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// tunnel forwards an upgraded connection until one side ends it.
func (l *link) tunnel(mode UpgradeMode, in *bufio.Reader, gone <-chan error, back *bufio.Reader, backend net.Conn) {
	var up, down io.Writer = backend, l.toClient()
	if mode == UpgradeSilent {
		up, down = io.Discard, io.Discard
	}
	var both sync.WaitGroup
	if mode == UpgradeKilled {
		both.Go(func() {
			kill := time.NewTimer(killAfter)
			defer kill.Stop()
			select {
			case <-kill.C:
				l.close(RST)
			case <-l.done:
			}
		})
	}
	both.Go(func() {
		err := <-gone
		if err == nil {
			_, err = io.Copy(up, in)
		}
		l.close(ending(err))
	})
	_, err := io.Copy(down, back)
	l.close(ending(err))
	both.Wait()
}

// errReader ends a MultiReader early where err is one.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err == nil {
		return 0, io.EOF
	}
	return 0, e.err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

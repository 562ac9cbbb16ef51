package caddytest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// StartTLS runs a site with a certificate of its own making, over HTTP/1.1, HTTP/2 and
// HTTP/3.
func StartTLS(t *testing.T, block string) *Site {
	t.Helper()
	s := Start(t, "respond ok")
	s.URL = fmt.Sprintf("https://localhost:%d", FreePort(t))
	s.ReloadTLS(block)
	// The certificate is made in the background.
	h1 := Clients(t)["HTTP/1.1"]
	Eventually(t, "a certificate", func() bool {
		resp, err := h1.Head(s.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	return s
}

// ReloadTLS gives the site of StartTLS another block.
func (s *Site) ReloadTLS(block string) {
	s.t.Helper()
	Load(s.t, fmt.Sprintf("{\nadmin off\npersist_config off\nskip_install_trust\nauto_https disable_redirects\n}\n%s {\ntls internal\n%s\n}\n", s.URL, block))
}

// Clients returns a client for each version of HTTP.
func Clients(t *testing.T) map[string]*http.Client {
	t.Helper()
	insecure := func(alpn ...string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: alpn}
	}
	h1 := &http.Transport{TLSClientConfig: insecure("http/1.1")}
	h2 := &http.Transport{TLSClientConfig: insecure("h2"), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure("h3")}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		_ = h3.Close()
	})
	return map[string]*http.Client{"HTTP/1.1": {Transport: h1}, "HTTP/2.0": {Transport: h2}, "HTTP/3.0": {Transport: h3}}
}

// Fetch sends a request for a room with a client and checks the protocol.
func (s *Site) Fetch(c *http.Client, proto, method, target, body string, headers ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	s.t.Cleanup(cancel)
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/rt/"+target, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s %s: %v", proto, method, target, err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.Proto != proto {
		s.t.Fatalf("came by %s, want %s", resp.Proto, proto)
	}
	return resp
}

package netpoll_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/internal/netpoll"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// pipe returns the two ends of a TCP connection.
func pipe(t testing.TB) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// tap can hold back what is written.
type tap struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (t *tap) Write(p []byte) (int, error) {
	if t.hold {
		return t.held.Write(p)
	}
	return t.Conn.Write(p)
}

// take returns what was held back.
func (t *tap) take() []byte {
	b := bytes.Clone(t.held.Bytes())
	t.held.Reset()
	return b
}

// securePipe returns the two ends of a TLS connection, and what lies under the
// client's.
func securePipe(t testing.TB, version uint16) (server, client *tls.Conn, below *tap) {
	t.Helper()
	s, c := pipe(t)
	below = &tap{Conn: c}
	server = tls.Server(s, &tls.Config{Certificates: []tls.Certificate{certificate()}, MaxVersion: version})
	client = tls.Client(below, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(t.Context()) }()
	err := server.HandshakeContext(t.Context())
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return server, client, below
}

// watch parks nc in a Poller of its own. The channel gets a value for each call of
// ready.
func watch(t testing.TB, nc net.Conn) (*netpoll.Conn, <-chan struct{}) {
	t.Helper()
	poller := new(netpoll.Poller)
	t.Cleanup(poller.Close)
	return watchIn(t, poller, nc)
}

func watchIn(t testing.TB, poller *netpoll.Poller, nc net.Conn) (*netpoll.Conn, <-chan struct{}) {
	t.Helper()
	calls := make(chan struct{}, 100)
	s, ok := poller.Watch(nc, func() { calls <- struct{}{} })
	if !ok {
		t.Fatal("can't be parked")
	}
	t.Cleanup(func() { s.Stop() })
	return s, calls
}

func called(t testing.TB, calls <-chan struct{}) {
	t.Helper()
	select {
	case <-calls:
	case <-time.After(patience):
		t.Fatal("ready is not called")
	}
}

// quiet checks that ready is not called although there is time for it.
func quiet(t testing.TB, calls <-chan struct{}) {
	t.Helper()
	select {
	case <-calls:
		t.Fatal("ready is called")
	case <-time.After(20 * time.Millisecond):
	}
}

func idle(t testing.TB, s *netpoll.Conn) {
	t.Helper()
	if n, err := s.TryRead(make([]byte, 100)); n != 0 || !errors.Is(err, netpoll.ErrIdle) {
		t.Fatalf("reads %d, %v, want %v", n, err, netpoll.ErrIdle)
	}
}

// read checks that TryRead returns what is wanted at once.
func read(t testing.TB, s *netpoll.Conn, want string) {
	t.Helper()
	p := make([]byte, 100)
	if n, err := s.TryRead(p); err != nil || string(p[:n]) != want {
		t.Fatalf("reads %q, %v, want %q", p[:n], err, want)
	}
}

func write(t testing.TB, w io.Writer, p string) {
	t.Helper()
	if _, err := io.WriteString(w, p); err != nil {
		t.Fatal(err)
	}
}

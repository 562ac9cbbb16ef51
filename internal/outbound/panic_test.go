package outbound_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// rotten is a listener's wrapper that panics.
type rotten struct {
	net.Conn
	after time.Duration // into a write
	write bool
	until bool // when a deadline is set
	close bool
}

func (r *rotten) Write(p []byte) (int, error) {
	if r.write {
		<-time.After(r.after)
		panic("write")
	}
	return r.Conn.Write(p)
}

func (r *rotten) SetWriteDeadline(d time.Time) error {
	if r.until {
		panic("deadline")
	}
	return r.Conn.SetWriteDeadline(d)
}

func (r *rotten) Close() error {
	_ = r.Conn.Close()
	if r.close {
		panic("close")
	}
	return nil
}

// A connection that panics is one session's end, whenever it does so: those that
// share its shard are served as if nothing had been.
func TestConnPanics(t *testing.T) {
	tests := map[string]struct {
		rotten
		want hub.Cause
	}{
		"at once":           {rotten{write: true}, hub.CauseInternal},
		"later":             {rotten{write: true, after: time.Second}, hub.CauseInternal},
		"in a deadline":     {rotten{until: true}, 0},
		"in all":            {rotten{write: true, until: true, close: true}, hub.CauseInternal},
		"later, and in all": {rotten{write: true, after: time.Second, until: true, close: true}, hub.CauseInternal},
	}
	for name, test := range tests {
		for _, secret := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls %v", name, secret), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, g := newHub(t), new(outbound.Group)
					var others []*sink
					for range 10 {
						others = append(others, drain(open(t, h, g, plain).near))
					}
					far, near := net.Pipe()
					bad := test.rotten
					bad.Conn = far
					sick, peer := net.Conn(&bad), near
					if secret {
						bad.write, bad.until = false, false
						sick, _ = secure(t, sick, near)
						bad.write, bad.until = test.write, test.until
					}
					c := start(t, h, g, plain, sick, peer)
					drain(peer)
					for n := range 20 {
						publish(t, h, fmt.Sprint(n))
						<-time.After(200 * time.Millisecond)
						synctest.Wait()
						for i, other := range others {
							if got, want := len(other.String()), len(fmt.Sprint(n))+1; n == 0 && got != want {
								t.Fatalf("%d has %d bytes of the first message", i, got)
							}
						}
					}
					for i, other := range others {
						if got := other.String(); len(got) != 50 {
							t.Errorf("%d has %q", i, got)
						}
					}
					if test.want != 0 {
						<-c.done
					}
					if cause := c.session.Ended(); cause != test.want {
						t.Errorf("ended by %v, want %v", cause, test.want)
					}
				})
			})
		}
	}
}

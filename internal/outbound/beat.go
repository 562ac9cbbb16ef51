package outbound

import (
	"math/rand/v2"
	"time"
)

// Beat calls f at intervals, until f returns false or stop is called. Each interval
// is d less a random part of up to a tenth, so that connections made at the same
// moment do not beat together. If d is 0 or less it never calls f. stop does not
// wait for a call of f that is under way.
func Beat(d time.Duration, f func() bool) (stop func()) {
	if d <= 0 {
		return func() {}
	}
	b := &beat{every: d, f: f}
	b.timer = time.AfterFunc(time.Hour, b.beat)
	b.timer.Reset(b.next()) // not before: a call of beat reads b.timer
	return b.stop
}

type beat struct {
	every time.Duration
	f     func() bool
	timer *time.Timer
}

func (b *beat) beat() {
	if b.f() {
		b.timer.Reset(b.next())
	}
}

func (b *beat) next() time.Duration { return b.every - rand.N(b.every/10+1) }

func (b *beat) stop() { b.timer.Stop() }

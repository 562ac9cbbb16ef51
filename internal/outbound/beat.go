package outbound

import (
	"math/rand/v2"
	"time"
)

// Beat calls f after every d, less up to a tenth of it, so that connections of
// one moment don't beat together, until f returns false or stop is called. With
// a d of 0 or less it never does. stop does not wait for a call of f that is
// under way.
func Beat(d time.Duration, f func() bool) (stop func()) {
	if d <= 0 {
		return func() {}
	}
	b := &beat{every: d, f: f}
	b.timer = time.AfterFunc(time.Hour, b.beat)
	b.timer.Reset(b.next()) // only now: a call reads timer
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

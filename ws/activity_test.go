package ws

import (
	"testing"
	"time"
	"unsafe"
)

// stepped returns the moment as time.Now would return it if the system's
// clock had been set forward by so many seconds: only the wall clock's reading
// differs, which a Time with a monotonic one holds from bit 30 of its first word
// on.
func stepped(t *testing.T, moment time.Time, seconds int64) time.Time {
	t.Helper()
	to := moment
	*(*uint64)(unsafe.Pointer(&to)) += uint64(seconds << 30)
	if d := time.Duration(to.UnixNano() - moment.UnixNano()); d != time.Duration(seconds)*time.Second || to.Sub(moment) != 0 {
		t.Skipf("a step of %d s is one of %v, which takes %v: Time is made in another way", seconds, d, to.Sub(moment))
	}
	return to
}

// Setting the system's clock ends no connection, and keeps none.
func TestClockIsSet(t *testing.T) {
	for name, step := range map[string]int64{"forward": 3600, "back": -3600} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			h := activity{since: began}
			h.note(began.Add(time.Minute))
			if d := h.ago(stepped(t, began.Add(time.Minute+time.Second), step)); d != time.Second {
				t.Errorf("last activity %v ago", d)
			}
			h.note(stepped(t, began.Add(2*time.Minute), step))
			if d := h.ago(began.Add(2*time.Minute + time.Second)); d != time.Second {
				t.Errorf("last activity %v ago, after the clock was set to and fro", d)
			}
		})
	}
}

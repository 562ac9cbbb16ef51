package hub

import (
	"testing"
	"time"
)

// A lease that comes after the janitor has looked, and before it has the hub's
// lock, keeps its room.
func TestLeaseComesWhileForgetting(t *testing.T) {
	h, r := roomOf(t, 0, nil)
	now := time.Now()
	if !r.sweep(now) || r.attendance.lasts() {
		t.Fatal("the room is in use")
	}
	if err := h.Caller(stranger(1)).Renew(t.Context(), "r", nil); err != nil {
		t.Fatal(err)
	}
	h.forgetIdle(r, now)
	if h.lookUp("r") != r {
		t.Error("the room is forgotten")
	}
	if n, err := h.Caller(Client{}).MemberCount("r"); n != 1 || err != nil {
		t.Errorf("%d are there: %v", n, err)
	}
}

// The messages of a forgotten room are freed without the hub's lock.
func TestBuryWithoutTheLock(t *testing.T) {
	h, r := roomOf(t, 0, nil)
	for range 100 {
		if _, err := h.Caller(Client{}).Publish(t.Context(), Publication{Room: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	before := tailOf(t, h)
	kept := h.Stats().Bytes
	h.mu.Lock()
	gone := h.makeWay(nil)
	h.mu.Unlock()
	if gone != r || h.Stats().Bytes != kept {
		t.Errorf("%d bytes of %d are left with the lock held", h.Stats().Bytes, kept)
	}
	h.forget(gone)
	if n := h.Stats().Bytes; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	if err := h.Check(); err != nil {
		t.Error(err)
	}
	for offset, gap := range map[uint64]bool{before.Offset: false, before.Offset - 1: true, 1: true} {
		page, err := h.Caller(Client{}).Read(t.Context(), "r", Query{After: Position{Epoch: before.Epoch, Offset: offset}})
		if err != nil || (page.Gap != nil) != gap {
			t.Errorf("after %d of %d: %+v: %v", offset, before.Offset, page.Gap, err)
		}
	}
}

func tailOf(t *testing.T, h *Hub) Position {
	t.Helper()
	page, err := h.Caller(Client{}).Read(t.Context(), "r", Query{})
	if err != nil {
		t.Fatal(err)
	}
	return page.Cursor
}

// A room that makes way takes its leases and its timer along.
func TestForgottenPresenceEnds(t *testing.T) {
	h, r := roomOf(t, 3, stranger)
	s := *h.Settings()
	s.MaxRooms = 1
	if err := h.Configure(&s); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Caller(Client{}).Publish(t.Context(), Publication{Room: "other"}); err != nil {
		t.Fatal(err)
	}
	if h.lookUp("r") != nil || h.fading.Load() != 0 {
		t.Errorf("%d leases fade", h.fading.Load())
	}
	if r.attendance.timer.Stop() {
		t.Error("its timer is still to fire")
	}
	// Somebody who found the room before it was forgotten.
	c := stranger(9)
	l, err := r.attendance.hold(&c, []byte(`1`), true, false)
	if err != nil {
		t.Fatal(err)
	}
	r.attendance.release(l, WhyTimeout, time.Hour)
	r.attendance.withdraw(&c)
	if n := r.memberCount(); n != 0 || h.fading.Load() != 0 || r.attendance.timer.Stop() {
		t.Errorf("%d are there, %d leases fade", n, h.fading.Load())
	}
	if err := h.Check(); err != nil {
		t.Error(err)
	}
}

package hub

import "sync"

// WakeChan is the Waker of a session that waits in a handler: a channel of
// capacity 1 which gets a value when there is something to read.
type WakeChan chan struct{}

// Wake implements [Waker].
func (b WakeChan) Wake() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// wakers wakes sessions that are served by HTTP handlers, off the publisher's goroutine.
// Its own goroutine lives while there is something to read.
type wakers struct {
	mu      sync.Mutex
	due     []*SubscriberGroup
	running bool // the goroutine lives
	done    sync.WaitGroup
}

// Notify implements [Dispatcher].
func (b *wakers) Notify(f *SubscriberGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = append(b.due, f)
	if !b.running {
		b.running = true
		b.done.Go(b.run)
	}
}

// run wakes sessions until no group has anything to read.
func (b *wakers) run() {
	chunk := make([]*Subscription, 0, 64)
	for {
		b.mu.Lock()
		if len(b.due) == 0 {
			b.running, b.due = false, nil
			b.mu.Unlock()
			return
		}
		due := b.due
		b.due = nil
		b.mu.Unlock()
		for _, f := range due {
			f.seen()
			for i := f.Len(); i > 0; {
				chunk, i = f.Subscriptions(i, chunk[:0])
				for _, m := range chunk {
					m.waker.Wake()
				}
			}
		}
		clear(chunk[:cap(chunk)])
	}
}

// seen lets Notify be called again.
func (f *SubscriberGroup) seen() {
	f.room.mu.Lock()
	defer f.room.mu.Unlock()
	f.due = false
}

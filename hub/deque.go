package hub

// deque is a queue of messages, oldest first, that is appended to at one end
// and shortened at the other. Both are O(1) amortised. The zero deque is empty.
type deque struct {
	buf  []*Message
	head int // index in buf of the oldest message
}

func (d *deque) len() int           { return len(d.buf) - d.head }
func (d *deque) at(i int) *Message  { return d.buf[d.head+i] }
func (d *deque) all() []*Message    { return d.buf[d.head:] }
func (d *deque) push(m *Message)    { d.buf = append(d.buf, m) }
func (d *deque) reset(m []*Message) { d.buf, d.head = m, 0 }

// shift takes the oldest message away.
func (d *deque) shift() *Message {
	m := d.buf[d.head]
	d.buf[d.head] = nil
	d.head++
	switch {
	case d.head == len(d.buf):
		// Nothing left: an idle room keeps no memory for its past.
		d.buf, d.head = nil, 0
	case d.head >= 16 && d.head*2 >= len(d.buf):
		n := copy(d.buf, d.buf[d.head:])
		clear(d.buf[n:])
		d.buf, d.head = d.buf[:n], 0
	}
	return m
}

// search returns the index of the first message for which after is true,
// which must be false for a beginning of the deque and true for its rest.
func (d *deque) search(after func(*Message) bool) int {
	lo, hi := 0, d.len()
	for lo < hi {
		if mid := (lo + hi) / 2; after(d.at(mid)) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

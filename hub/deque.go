package hub

// deque is a queue, oldest first, that is appended to at one end and shortened
// at the other. Both are O(1) amortised. The zero deque is empty.
type deque[T any] struct {
	buf  []T
	head int // index in buf of the oldest element
}

func (d *deque[T]) len() int       { return len(d.buf) - d.head }
func (d *deque[T]) at(i int) T     { return d.buf[d.head+i] }
func (d *deque[T]) set(i int, e T) { d.buf[d.head+i] = e }
func (d *deque[T]) all() []T       { return d.buf[d.head:] }
func (d *deque[T]) push(e T)       { d.buf = append(d.buf, e) }
func (d *deque[T]) reset(e []T)    { d.buf, d.head = e, 0 }

// shift takes the oldest element away.
func (d *deque[T]) shift() T {
	var none T
	e := d.buf[d.head]
	d.buf[d.head] = none
	d.head++
	switch {
	case d.head == len(d.buf):
		// Nothing left: an idle room keeps no memory for its past.
		d.buf, d.head = nil, 0
	case d.head >= 16 && d.head*2 >= len(d.buf):
		d.compact()
	}
	return e
}

// compact moves what is left to the front, of a smaller array if most of this
// one is free: what a burst needed is not kept for ever.
func (d *deque[T]) compact() {
	if n := d.len(); cap(d.buf) > 64 && n < cap(d.buf)/4 {
		d.buf, d.head = append(make([]T, 0, 2*n), d.all()...), 0
		return
	}
	n := copy(d.buf, d.all())
	clear(d.buf[n:])
	d.buf, d.head = d.buf[:n], 0
}

// search returns the index of the first element for which after is true,
// which must be false for a beginning of the deque and true for its rest.
func (d *deque[T]) search(after func(T) bool) int {
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

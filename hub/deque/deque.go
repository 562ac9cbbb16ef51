// Package deque has a queue for what is appended at one end and shortened at the other.
package deque

// Deque is a queue, oldest first, that is appended to at one end and shortened
// at the other. Both are O(1) amortised. The zero Deque is empty.
type Deque[T any] struct {
	buf  []T
	head int // index in buf of the oldest element
}

// Len returns the number of elements.
func (d *Deque[T]) Len() int { return len(d.buf) - d.head }

// At returns the element at index i, counted from the oldest.
func (d *Deque[T]) At(i int) T { return d.buf[d.head+i] }

// Set replaces the element at index i.
func (d *Deque[T]) Set(i int, e T) { d.buf[d.head+i] = e }

// All returns the elements, oldest first. The slice is the deque's own: it is valid until the deque changes.
func (d *Deque[T]) All() []T { return d.buf[d.head:] }

// Push appends an element.
func (d *Deque[T]) Push(e T) { d.buf = append(d.buf, e) }

// Reset replaces all elements. The slice is the deque's from now on.
func (d *Deque[T]) Reset(e []T) { d.buf, d.head = e, 0 }

// Shift takes the oldest element away.
func (d *Deque[T]) Shift() T {
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
func (d *Deque[T]) compact() {
	if n := d.Len(); cap(d.buf) > 64 && n < cap(d.buf)/4 {
		d.buf, d.head = append(make([]T, 0, 2*n), d.All()...), 0
		return
	}
	n := copy(d.buf, d.All())
	clear(d.buf[n:])
	d.buf, d.head = d.buf[:n], 0
}

// Search returns the index of the first element for which after is true,
// which must be false for a beginning of the deque and true for its rest.
func (d *Deque[T]) Search(after func(T) bool) int {
	lo, hi := 0, d.Len()
	for lo < hi {
		if mid := (lo + hi) / 2; after(d.At(mid)) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

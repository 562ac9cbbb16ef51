// Package ranking is a heap (container/heap) whose elements know their index, so that
// one can be moved or removed without looking for it.
package ranking

import "container/heap"

// Item is what a [Heap] holds.
type Item[E any] interface {
	// Before reports whether it comes before another.
	Before(other E) bool
	// Placed is called with its index; with -1 when it was taken out.
	Placed(index int)
}

// Heap is a heap: the first of its items is at index 0. It is for one goroutine at a
// time. The zero Heap is empty.
type Heap[E Item[E]] []E

// Add adds an item, in O(log n).
func (h *Heap[E]) Add(e E) { heap.Push((*order[E])(h), e) }

// Remove takes the item at the index out and returns it, in O(log n).
func (h *Heap[E]) Remove(index int) E { return heap.Remove((*order[E])(h), index).(E) }

// Fix puts the item at the index where it belongs after a change of its rank.
func (h *Heap[E]) Fix(index int) { heap.Fix((*order[E])(h), index) }

// Init orders items that were put into the slice directly.
func (h *Heap[E]) Init() { heap.Init((*order[E])(h)) }

// order implements heap.Interface, which need not show.
type order[E Item[E]] []E

func (o order[E]) Len() int           { return len(o) }
func (o order[E]) Less(i, j int) bool { return o[i].Before(o[j]) }

func (o order[E]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].Placed(i)
	o[j].Placed(j)
}

func (o *order[E]) Push(x any) {
	e := x.(E)
	e.Placed(len(*o))
	*o = append(*o, e)
}

// Pop keeps no array of a heap that has become empty.
func (o *order[E]) Pop() any {
	var none E
	last := len(*o) - 1
	e := (*o)[last]
	e.Placed(-1)
	(*o)[last] = none
	if *o = (*o)[:last]; last == 0 {
		*o = nil
	}
	return e
}

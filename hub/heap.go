package hub

// ranked is what a [ranking] holds.
type ranked[E any] interface {
	// before reports whether it is to be taken before another.
	before(E) bool
	// placed says at which index it is now; -1 where it has been taken out.
	placed(at int)
}

// ranking is a heap whose elements know their place (container/heap). What is to be
// taken first is at index 0.
type ranking[E ranked[E]] []E

func (r ranking[E]) Len() int           { return len(r) }
func (r ranking[E]) Less(i, j int) bool { return r[i].before(r[j]) }

func (r ranking[E]) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].placed(i)
	r[j].placed(j)
}

// Push implements heap.Interface.
func (r *ranking[E]) Push(x any) {
	e := x.(E)
	e.placed(len(*r))
	*r = append(*r, e)
}

// Pop implements heap.Interface. What a crowd that went at once needed is not kept
// for ever.
func (r *ranking[E]) Pop() any {
	var none E
	last := len(*r) - 1
	e := (*r)[last]
	e.placed(-1)
	(*r)[last] = none
	if *r = (*r)[:last]; last == 0 {
		*r = nil
	}
	return e
}

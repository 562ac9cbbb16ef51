package frame

// Held returns how many bytes the Reader holds besides itself.
func (r *Reader) Held() int {
	n := cap(r.data)
	if r.in != nil {
		n += len(r.in.b)
	}
	return n
}

// Unmask is unmask.
var Unmask = unmask

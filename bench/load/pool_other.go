//go:build !linux

package load

import "errors"

// Pool is there on Linux alone.
type Pool struct{}

// NewPool returns an error: this system has no epoll.
func NewPool() (*Pool, error) { return nil, errors.New("load: needs Linux") }

//go:build !unix

package realtime

import "math"

// maxFiles returns how many files, sockets among them, the process may have
// open: on this system there is no such limit.
func maxFiles() int { return math.MaxInt32 }

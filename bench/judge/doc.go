// Package judge holds a hub in a real Caddy against a bare loop of writes over
// the very same sockets, in the same process, round by round in turn. So what
// the kernel takes and what the machine does meanwhile is in both.
//
// The clients are another process: the processor time of this one is the
// server's alone. Only Linux has it.
package judge

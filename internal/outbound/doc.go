// Package outbound writes the messages of sessions to connections that have left
// net/http. A [Conn] is the only writer of its socket, so messages, replies and
// control frames never interleave.
//
// A [Group] divides its connections among shards, one for each processor. The worker of
// a shard encodes a room's new messages once and writes the same bytes to each of the
// room's members. It does not wait for a slow peer: a connection whose socket is full,
// or whose write takes long (TLS), is left to a goroutine of its own until the peer has
// caught up. Messages that arrive during a round go out in the next one: under load
// many messages share one write, at rest none waits.
//
// An idle connection has no goroutine and no timer here.
package outbound

// Package outbound writes what sessions are due to the connections that have
// left net/http. A [Conn] is the only writer of its socket: messages, replies
// and control frames pass through it and never tear each other apart.
//
// Connections are parted among shards, one for each processor. A shard's worker
// encodes what a room has to tell once, and writes the same bytes to each of
// the room's members in one call. A socket that takes no more is set aside and
// waited for by a goroutine of its own, never by the worker. While the worker
// makes its round more gathers, so many messages share one write under load and
// none waits at rest. An idle connection costs no goroutine and no timer here.
package outbound

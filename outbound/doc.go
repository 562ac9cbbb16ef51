// Package outbound writes what sessions are due to the connections that have
// left net/http. A [Conn] is the only writer of its socket: messages, replies
// and control frames pass through it and never tear each other apart.
//
// A connection that has nothing to be told costs no goroutine: the first wake
// starts one, which writes all that is due and ends. While it writes, more
// gathers, so many messages share one write under load and none waits at rest.
package outbound

// Package ws serves rooms over WebSocket (RFC 6455): coder/websocket makes the
// handshake, ws/frame reads, and outbound writes. A connection leaves net/http with
// the handshake. While it is idle it waits in netpoll and has no goroutine, or it
// has one in Read where netpoll cannot watch it.
package ws

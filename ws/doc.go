// Package ws serves a room over WebSocket (RFC 6455): the handshake and the
// reading are coder/websocket's, all writing is outbound's. A connection leaves
// net/http with the handshake and is held by one goroutine that reads.
package ws

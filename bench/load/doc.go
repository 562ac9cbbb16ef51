// Package load is a cheap load generator: one thread, one epoll, many
// connections. It does the HTTP handshake by hand, takes apart what comes
// (WebSocket frames, server-sent events, lines of JSON, Socket.IO's packets),
// counts every delivery, and checks that each connection sees each message
// whole, once and in order. Only Linux has it; elsewhere [NewPool] returns an
// error.
package load

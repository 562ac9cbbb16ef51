// Package serve carries out requests for rooms: what a request wants, who it comes
// from, doing it. It does not know Caddy. What only Caddy knows, and the options of a
// handler, are fields of a [Server].
//
// A request passes through these files, in this order:
//
//	server.go   the whole way, in one function
//	origin.go   whether the page that sent it may use the rooms
//	request.go  what it asks for; mode.go: how it is served, cursor.go: where it begins
//	rooms.go    the rooms that it names
//	client.go   who sent it, as far as its credentials count
//	connect.go  a WebSocket or a stream
//	page.go     an answer that ends: a page, the members, or HEAD
//	publish.go  a POST of a message or a form; commands.go: of commands
//	refuse.go   the answer if any of them refuses it
package serve

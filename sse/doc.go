// Package sse streams a room over HTTP: as server-sent events (WHATWG HTML,
// "Server-sent events") or as NDJSON. Both are one loop in the handler's
// goroutine and differ in the bytes.
package sse
